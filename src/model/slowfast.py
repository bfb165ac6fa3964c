"""SlowFast: a clip of frames, `(B, 3, T, H, W)`, to logits, `(B, classes)`.

Two 3D ResNets look at the same clip. The slow pathway sees every alpha-th frame with many channels; the
fast pathway sees every frame with few. Before each residual stage, the slow pathway takes over what the
fast one has found.

Feichtenhofer, Fan, Malik, He: SlowFast Networks for Video Recognition, ICCV 2019. Numbers that the paper
leaves open follow PySlowFast, so that its published weights fit: see `published_name`.
"""

from collections import OrderedDict
from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from src.model.conv import Conv3d
from src.model.nonlocal_block import NonLocal
from src.model.stem import StemConv, StemPool

# Residual blocks in res2, res3, res4 and res5 (He et al., CVPR 2016, table 1).
BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}

# Temporal kernels of res2 to res5. The slow pathway's frames lie so far apart that convolving over time
# only helps once the receptive field in space is large (section 3.4 of the paper).
SLOW_KERNELS = (1, 1, 3, 3)
FAST_KERNELS = (3, 3, 3, 3)

# The slow pathway's blocks that a non-local block follows, as in PySlowFast's NLN configurations of a 50 and a 101.
# Nobody publishes an 18 with them: of its blocks, those that have one in the 50.
NON_LOCAL = {18: {"res3": (1,), "res4": (1,)}, 50: {"res3": (1, 3), "res4": (1, 3, 5)}, 101: {"res4": (6, 13, 20)}}


class ConvNorm(nn.Sequential):
    """A 3D convolution that keeps T, H and W (up to its stride), batch norm, and what is named to follow."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: tuple[int, int, int],
        stride: tuple[int, int, int] = (1, 1, 1),
        **then: nn.Module,
    ):
        padding = tuple(size // 2 for size in kernel)
        super().__init__(named(Conv3d(inputs, outputs, kernel, stride, padding, bias=False), **then))


def named(conv: nn.Conv3d, **then: nn.Module) -> OrderedDict[str, nn.Module]:
    """A new convolution, a batch norm, and what follows, by their names."""
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return OrderedDict(conv=conv, bn=nn.BatchNorm3d(conv.out_channels), **then)


def relu() -> nn.ReLU:
    return nn.ReLU(inplace=True)


def basic_branch(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    """Two 3x3 convolutions, of which the first also looks along time, over `kernel` frames."""
    return nn.Sequential(
        OrderedDict(
            a=ConvNorm(inputs, outputs, (kernel, 3, 3), (1, stride, stride), relu=relu()),
            b=ConvNorm(outputs, outputs, (1, 3, 3)),
        )
    )


def bottleneck_branch(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    """Look along time, over `kernel` frames, into a quarter of the channels; along space; and widen."""
    inner = outputs // 4
    return nn.Sequential(
        OrderedDict(
            a=ConvNorm(inputs, inner, (kernel, 1, 1), relu=relu()),
            b=ConvNorm(inner, inner, (1, 3, 3), (1, stride, stride), relu=relu()),
            c=ConvNorm(inner, outputs, (1, 1, 1)),
        )
    )


class Residual(nn.Module):
    """`relu(shortcut(x) + branch(x))`; the shortcut is the identity unless the shape changes.

    In training `drop` leaves the branch out for some of the clips.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, branch: nn.Sequential):
        super().__init__()
        self.branch, self.drop = branch, nn.Identity()
        if inputs == outputs and stride == 1:
            self.shortcut = nn.Identity()
        else:
            self.shortcut = ConvNorm(inputs, outputs, (1, 1, 1), (1, stride, stride))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu_(self.shortcut(x) + self.drop(self.branch(x)))


def stem(width: int, kernel: int) -> nn.Sequential:
    """Convolve and pool `(B, 3, T, H, W)` to `(B, width, T, H/4, W/4)`.

    The ReLU comes last: the largest of what is positive is the same before and after, and a quarter is left.
    """
    return nn.Sequential(named(StemConv(width, kernel), pool=StemPool(), relu=relu()))


def stage(
    depth: int, inputs: int, outputs: int, kernels: Sequence[int], stride: int, non_local: Collection[int]
) -> nn.Sequential:
    """A row of residual blocks, one a kernel, of which the first changes the channels and the spatial size.

    After the blocks `non_local` stand non-local ones, under names of their own: blocks keep their number as name.
    """
    branch = basic_branch if depth == 18 else bottleneck_branch
    children: OrderedDict[str, nn.Module] = OrderedDict()
    for i, kernel in enumerate(kernels):
        children[str(i)] = Residual(inputs, outputs, stride, branch(inputs, outputs, kernel, stride))
        if i in non_local:
            children[f"nonlocal{i}"] = NonLocal(outputs)
        inputs, stride = outputs, 1
    return nn.Sequential(children)


class Pathway(nn.Sequential):
    """One 3D ResNet without its classifier: children `stem`, `res2`, `res3`, `res4`, `res5`.

    It never strides along time (section 3.2). `channels` holds the output channels of each child; `joins`,
    the channels that arrive from the other pathway before each of the four residual stages; `kernels`, each
    stage's frames of the convolutions along time, in its first `temporal_blocks` blocks: later ones see one frame.
    """

    def __init__(
        self,
        *,
        depth: int,
        width: int,
        stem_kernel: int,
        kernels: Sequence[int],
        temporal_blocks: int,
        joins: Sequence[int] = (0, 0, 0, 0),
        non_local: bool = False,
    ):
        expansion = 1 if depth == 18 else 4
        channels = [width] + [width * expansion * factor for factor in (1, 2, 4, 8)]
        children = OrderedDict(stem=stem(width, stem_kernel))
        for i, blocks in enumerate(BLOCKS[depth]):
            name, stride = f"res{i + 2}", 1 if i == 0 else 2
            block_kernels = [kernels[i] if block < temporal_blocks else 1 for block in range(blocks)]
            places = NON_LOCAL[depth].get(name, ()) if non_local else ()
            children[name] = stage(depth, channels[i] + joins[i], channels[i + 1], block_kernels, stride, places)
        super().__init__(children)
        self.channels = channels


def lateral(inputs: int, outputs: int, kernel: int, alpha: int) -> ConvNorm:
    """Bring fast features, `(B, inputs, T, H, W)`, to the slow frame rate, `(B, outputs, T/alpha, H, W)`.

    A time-strided convolution, the best of the paper's three ways (section 3.4).
    """
    return ConvNorm(inputs, outputs, (kernel, 1, 1), (alpha, 1, 1), relu=relu())


def slow_frames(frames: int, alpha: int) -> Tensor:
    """The `frames // alpha` frame numbers, from the first frame to the last, that the slow pathway sees.

    Not `[::alpha]`: published weights were trained with this choice, its rounding included.
    Raises ValueError if `frames` is not a multiple of `alpha`.
    """
    if frames % alpha:
        raise ValueError(f"a clip of {frames} frames is not a multiple of alpha = {alpha}")
    return torch.linspace(0, frames - 1, frames // alpha).long()


class SlowFast(nn.Module):
    """The two pathways, the laterals from fast to slow, and one linear classifier on top.

    classes          number of logits
    depth            18, 50 or 101: layers of the ResNet that both pathways are built on
    width            channels of the slow stem, 64 in the paper; the other layers scale with it
    alpha            the fast pathway sees alpha times as many frames as the slow one
    beta_inv         the slow pathway has beta_inv times as many channels as the fast one
    fusion_kernel    frames that a lateral looks at: 7 in PySlowFast's 8x8 R50, 5 in its 4x16 R50 and its R101s
    fusion_ratio     channels a lateral hands over for each channel of the fast pathway
    temporal_blocks  of each stage, the first so many blocks may look along time: 23 is all of them at any depth,
                     6 makes the R101 that PySlowFast calls 50_50
    pathways         both; slow or fast: that one alone, without laterals, as in the paper's ablations (table 5a)
    non_local        non-local blocks in the slow pathway, the paper's NLN variants: see NON_LOCAL
    dropout          probability of dropping a pooled feature before the classifier
    drop_path        probability of leaving out a clip's last residual branch, falling to 0 at the first one of a
                     pathway: stochastic depth (Huang et al., arXiv:1603.09382)
    zero_init        let every block start as its shortcut: steadies the first steps of a large-batch run (Goyal
                     et al., 2017, section 5.1), and costs a short run with small batches many epochs

    Raises ValueError for an unknown depth or choice of pathways, a width that beta_inv does not divide, an even
    fusion_kernel, non-local blocks without the slow pathway.
    """

    def __init__(
        self,
        *,
        classes: int,
        depth: int = 50,
        width: int = 64,
        alpha: int = 4,
        beta_inv: int = 8,
        fusion_kernel: int = 7,
        fusion_ratio: int = 2,
        temporal_blocks: int = 23,
        pathways: str = "both",
        non_local: bool = False,
        dropout: float = 0.5,
        drop_path: float = 0.0,
        zero_init: bool = True,
    ):
        if depth not in BLOCKS:
            raise ValueError(f"depth is {depth}, but must be one of {', '.join(map(str, BLOCKS))}")
        if width < 1 or width % beta_inv:
            raise ValueError(f"width is {width}, but must be a positive multiple of beta_inv = {beta_inv}")
        if fusion_kernel < 1 or fusion_kernel % 2 == 0:
            raise ValueError(f"fusion_kernel is {fusion_kernel}, but must be odd and positive: 1, 3, 5, 7")
        if pathways not in ("both", "slow", "fast"):
            raise ValueError(f"pathways is {pathways}, but must be one of both, slow, fast")
        if non_local and pathways == "fast":
            raise ValueError("non_local needs the slow pathway, but pathways is fast")
        super().__init__()
        self.architecture = {
            "depth": depth,
            "width": width,
            "alpha": alpha,
            "beta_inv": beta_inv,
            "fusion_kernel": fusion_kernel,
            "fusion_ratio": fusion_ratio,
            "temporal_blocks": min(temporal_blocks, max(BLOCKS[depth])),
            "pathways": pathways,
            "non_local": non_local,
        }
        common = {"depth": depth, "temporal_blocks": temporal_blocks}
        features, joins = 0, [0, 0, 0, 0]
        if pathways != "slow":
            self.fast = Pathway(width=width // beta_inv, stem_kernel=5, kernels=FAST_KERNELS, **common)
            features += self.fast.channels[-1]
            joins = [channels * fusion_ratio for channels in self.fast.channels[:-1]]
        if pathways != "fast":
            self.slow = Pathway(
                width=width, stem_kernel=1, kernels=SLOW_KERNELS, joins=joins, non_local=non_local, **common
            )
            features += self.slow.channels[-1]
        if pathways == "both":
            sources = zip(("stem", "res2", "res3", "res4"), self.fast.channels, joins, strict=False)
            self.fuse = nn.Sequential(
                OrderedDict((name, lateral(source, join, fusion_kernel, alpha)) for name, source, join in sources)
            )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(features, classes)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)
        if drop_path:
            from torchvision.ops import StochasticDepth  # slow to import

            for pathway in (module for module in self.modules() if isinstance(module, Pathway)):
                blocks = [module for module in pathway.modules() if isinstance(module, Residual)]
                for number, block in enumerate(blocks):
                    block.drop = StochasticDepth(drop_path * number / (len(blocks) - 1), "row")
        if zero_init:
            for block in self.modules():
                if isinstance(block, Residual):
                    nn.init.zeros_(block.branch[-1].bn.weight)

    def forward(self, clip: Tensor) -> Tensor:
        """Normalised frames, `(B, 3, T, H, W)`, to logits, `(B, classes)`; T is any multiple of alpha.

        Logits in evaluation too: PySlowFast's head turns to probabilities there and averages these over
        positions, which ties it to one crop size.
        """
        pooled = [features.mean((2, 3, 4)) for features in self._features(clip)]
        return self.head(self.dropout(torch.cat(pooled, dim=1)))

    def _features(self, clip: Tensor) -> list[Tensor]:
        """What comes out of each pathway, the slow one first."""
        if self.architecture["pathways"] == "fast":
            return [self.fast(clip)]
        # Chosen on the CPU, as for the published weights: a GPU may round otherwise.
        chosen = slow_frames(clip.shape[2], self.architecture["alpha"]).to(clip.device, non_blocking=True)
        slow, fast = clip.index_select(2, chosen), clip
        if self.architecture["pathways"] == "slow":
            return [self.slow(slow)]
        for slow_stage, fast_stage, fuse in zip(self.slow, self.fast, self.fuse, strict=False):
            slow, fast = slow_stage(slow), fast_stage(fast)
            slow = torch.cat([slow, fuse(fast)], dim=1)
        return [self.slow.res5(slow), self.fast.res5(fast)]


def published_name(name: str) -> str:
    """What PySlowFast calls the entry of our state_dict that we call `name`; KeyError if there is none.

    >>> published_name("slow.res2.0.branch.a.bn.weight")
    's2.pathway0_res0.branch2.a_bn.weight'
    """
    pathways = {"slow": "pathway0", "fast": "pathway1"}
    stages = {"stem": "s1", "res2": "s2", "res3": "s3", "res4": "s4", "res5": "s5"}
    suffix = {"conv": "", "bn": "_bn"}
    match name.split("."):
        case ["head", value]:
            return f"head.projection.{value}"
        case ["fuse", at, layer, value]:
            return f"{stages[at]}_fuse.{layer.replace('conv', 'conv_f2s')}.{value}"
        case [pathway, "stem", layer, value]:
            return f"s1.{pathways[pathway]}_stem.{layer}.{value}"
        case [pathway, at, block, layer, value] if block.startswith("nonlocal"):
            return f"{stages[at]}.{pathways[pathway]}_{block}.{layer}.{value}"
        case [pathway, at, block, "shortcut", layer, value]:
            return f"{stages[at]}.{pathways[pathway]}_res{block}.branch1{suffix[layer]}.{value}"
        case [pathway, at, block, "branch", part, layer, value]:
            return f"{stages[at]}.{pathways[pathway]}_res{block}.branch2.{part}{suffix[layer]}.{value}"
    raise KeyError(name)
