"""A page to try a model on: drop a video or film one, and see what happens in it, when, and where the network looked.

    python -m src.app                           artifacts/model.pt, at http://127.0.0.1:7860
    python -m src.app --model models:/slowfast@champion
    python -m src.app --host 0.0.0.0            for others in the network too; without a password, see docs/serving.md

The limits are those of `serve`, but for the time that an answer may take.
"""

from __future__ import annotations

import os
import signal
import tempfile
from importlib.util import find_spec

from src import command, paths
from src.command import UserError

HOST, PORT = "127.0.0.1", 7860


def main() -> None:
    parser = command.parser(__doc__)
    parser.add_argument(
        "--model",
        default=str(paths.MODEL),
        metavar="MODEL",
        help="a checkpoint, mlflow:RUN or models:/NAME@ALIAS (default: artifacts/model.pt)",
    )
    parser.add_argument("--host", default=HOST, help=f"the address to listen at (default: {HOST}, this machine only)")
    parser.add_argument("--port", type=int, default=PORT, help=f"(default: {PORT})")
    arguments = parser.parse_args()
    if find_spec("gradio") is None:
        raise UserError("the page needs gradio: pip install -r requirements-app.txt")
    params = command.settings_of(arguments)
    from src import predict
    from src.parallel import cores
    from src.serving.intake import Limits
    from src.serving.show import Show

    predictor = predict.load(arguments.model, params)
    at_a_time = 1 if predictor.device.type == "cuda" else cores()
    limits = Limits(**params.serve.model_dump(exclude={"name"}))
    with tempfile.TemporaryDirectory(prefix="app-") as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads  # read when gradio is imported; removed in the end
        from src.serving import page

        signal.signal(signal.SIGTERM, signal.default_int_handler)  # the uploads are removed then, too
        built = page.build(Show(predictor, limits, params.predict.model_dump()), at_a_time=at_a_time)
        page.serve(built, host=arguments.host, port=arguments.port, megabytes=limits.megabytes)


if __name__ == "__main__":
    command.run(main)
