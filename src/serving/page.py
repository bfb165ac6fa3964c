"""The page of src.app: a video is dropped or filmed, and answered beside it. Nothing leaves the machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Read when these are imported: neither Gradio nor what it brings along says anything to anybody.
os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}

import gradio as gr

from src.command import UserError
from src.report import page as report
from src.serving.show import Show

TITLE = "What happens in a video?"

HERE = Path(__file__).resolve().parent
STYLE = HERE / "page.css"

KEEP = 3600  # seconds after which an upload is removed
WAITING = 32  # people in the queue; who comes then is told to come back

FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "DejaVu Sans", "sans-serif"]
THEME = gr.themes.Default(font=FONTS, font_mono=["ui-monospace", "DejaVu Sans Mono", "monospace"])


def uploads_only(component: gr.Component) -> None:
    """Have it take what was uploaded here: for an address in its place the server would go and fetch that."""
    take = component.async_move_resource_to_block_cache

    async def upload(path: Any) -> str | None:
        if "://" in str(path):
            raise gr.Error("an upload is expected, not an address", print_exception=False)
        return await take(path)

    component.async_move_resource_to_block_cache = upload


def build(show: Show, *, at_a_time: int) -> gr.Blocks:
    """The page. So many videos `at_a_time` are watched; others queue, and see their place."""
    limits = show.limits
    hint = (
        f"<p>At most {limits.megabytes:g} MB and {report.duration(limits.seconds)}. One of more than "
        f"{report.duration(show.parts['long'])} gets a timeline.</p>"
    )

    def watch(path: str | None) -> Iterator[str]:
        yield from show.of(Path(path)) if path else [hint]

    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(KEEP // 6, KEEP)) as page:
        gr.HTML(report.render("known.html", title=TITLE, classes=show.predictor.classes))
        with gr.Row():
            with gr.Column(scale=2):
                # Not gr.Video for files: it complains of each that browsers do not play, as most AVIs.
                with gr.Tab("A file"):
                    file = gr.File(label="A video", height=180, elem_id="file")
                with gr.Tab("The camera"):
                    # With another format, or without sound, Gradio would have FFmpeg convert what is filmed.
                    camera = gr.Video(
                        label="What the camera sees",
                        sources=["webcam"],
                        include_audio=True,
                        webcam_options=gr.WebcamOptions(mirror=False, constraints={"video": True, "audio": False}),
                        buttons=[],
                        height=320,
                        elem_id="camera",
                    )
            with gr.Column(scale=3):
                answer = gr.HTML(hint)
        for given in (file, camera):
            uploads_only(given)
            watching = given.change(
                watch,
                given,
                answer,
                concurrency_limit=at_a_time,
                concurrency_id="watch",
                show_progress="minimal",
                api_visibility="private",
            )
            given.clear(None, cancels=[watching])
    return page.queue(max_size=WAITING)


def serve(page: gr.Blocks, *, host: str, port: int, megabytes: float) -> None:
    """Show the page until Ctrl-C. Raises `UserError` if it cannot listen there."""
    try:
        page.launch(
            server_name=host,
            server_port=port,
            max_file_size=int(megabytes * 1e6),
            theme=THEME,
            css_paths=STYLE,
            footer_links=[],
            share=False,
            ssr_mode=False,
            quiet=True,
            prevent_thread_lock=True,
        )
    except OSError:  # Gradio tells neither why nor which
        raise UserError(f"nobody can listen at {host}:{port}, perhaps somebody does: --port names another") from None
    print(f"the page is at {page.local_url} (Ctrl-C ends it)", flush=True)
    page.block_thread()
