"""`Operator`: what is known of an operator of the graph, and the one table of all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from .layout import NO_BORDER, Border
from .node import Node, Shape

if TYPE_CHECKING:
    from .graph import Graph

OPERATORS: dict[str, Operator] = {}


class Operator:
    """One operator: shape, kernels, gradient, C text, its form in ONNX.

    A family of operators is a file of `cnn_ext.operators`, and each has one object of its class in
    `OPERATORS`.  The first line of the docstring is the formula.
    """

    #: the values that it takes
    inputs: ClassVar[str] = "x"
    #: attributes, and what each is where it is not given; `...` where it must be
    attributes: ClassVar[Mapping[str, Any]] = {}
    #: names of the weights that it may have
    weights: ClassVar[tuple[str, ...]] = ()
    #: with what it is timed: the shape "x" of its inputs, shapes of weights, attributes
    example: ClassVar[Mapping[str, Any]] = {}
    #: what the gradient reads: the inputs "x", the output "y", or both
    reads: ClassVar[str] = ""
    #: whether the output may be written over the first input
    in_place: ClassVar[bool] = False
    #: whether the output is the first input's memory
    same_memory: ClassVar[bool] = False
    #: whether its gradient knows the attribute "clip"; else that is for answers alone
    clips_back: ClassVar[bool] = False
    #: whether its C function also works out the elementwise functions that follow
    c_goes_on: ClassVar[bool] = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.formula = (self.__doc__ or "").partition("\n")[0]
        OPERATORS[name] = self

    def filled(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """The attributes with their defaults."""
        unknown = attributes.keys() - self.attributes.keys()
        if unknown:
            raise ValueError(f"unknown attributes {', '.join(sorted(unknown))}")
        whole = {**self.attributes, **attributes}
        missing = [key for key, value in whole.items() if value is ...]
        if missing:
            raise ValueError(f"expected attributes {', '.join(missing)}")
        return whole

    def shape(self, node: Node, *shapes: Shape) -> Shape:
        """Shape of the output for inputs of such shapes, all without N.

        It brings the node's attributes into their one form.

        Raises
        ------
        TypeError, ValueError
            If inputs, weights and attributes do not fit together.
        """
        raise NotImplementedError(f"{self.name}.shape")

    def recordable(self, node: Node, shapes: Sequence[Shape]) -> bool:
        """Whether its calls of kernels are the same each time, for inputs of such shapes."""
        return True

    def forward(self, run: Any, node: Node, *inputs: Any, over: Any = None) -> Any:
        """The output for a batch of inputs in lanes; `over` is memory that it may be written to."""
        raise NotImplementedError(f"{self.name}.forward")

    def backward(
        self, run: Any, node: Node, dy: Any, x: Sequence[Any], y: Any, wanted: Sequence[bool]
    ) -> Sequence[Any]:
        """The gradients at the inputs that are wanted, None for the others, given the output's.

        Those of weights go to ``run.learn``.
        """
        raise NotImplementedError(f"{self.name}.backward")

    def again(self, run: Any, node: Node, x: Sequence[Any], kept: Any) -> Callable[[], Any] | None:
        """What makes the output once more, if it is cheap; None if it has to be kept."""
        return None

    def begin(self, node: Node, shape: Shape, images: int) -> None:
        """Called before each pass over so many images, of which one is `shape` here.

        Raises ValueError if there are not enough of them.
        """

    def prepare(self, run: Any, node: Node) -> None:
        """Make constants that a recording must know."""

    def constants(self, node: Node) -> list[Any]:
        """Arrays beside the weights that the kernels read."""
        return []

    def packed_for_both(self, graph: Any, node: Node) -> bool:
        """Whether `forward` reads what `image` packed, if it finds that."""
        return False

    def lowers(self, node: Node) -> str:
        """When `lower` says it in other operators.

        "constants" where the weights are constants, "image" for single images and files, "" never.
        """
        return ""

    def lower(self, graph: Any, node: Node, inputs: Sequence[str]) -> str:
        """Add what is equal to a node to a graph; its value."""
        raise NotImplementedError(f"{self.name}.lower")

    def image(self, run: Any, node: Node, *inputs: Any) -> Any:
        """The output for one image, whose values are `Placed`; `run` is a `ByImage`.

        Every sum is taken in the order of `forward`: the answer is the same, bit for bit.
        """
        raise ValueError(f"{self.name} has no kernels for one image")

    def takes_bytes(self, node: Node) -> bool:
        """Whether `image` also knows inputs that are `Bytes`."""
        return False

    def keeps_zero(self, node: Node) -> bool:
        """Whether zeros become zeros in `image`, so that a border of them stays one."""
        return False

    def padding(self, graph: Graph, node: Node) -> Border:
        """The border of zeros that `image` wants around its inputs."""
        return NO_BORDER

    def reads_beyond(self, graph: Graph, node: Node, lanes: int) -> bool:
        """Whether `image` reads whole vectors of a plain input, also behind its last number."""
        return False

    def c(self, writer: Any, node: Node, inputs: Sequence[str], y: str, after: str) -> None:
        """Write C for one image, from the buffers `inputs` to the buffer `y`.

        `after` is an expression of ``{v}``, the functions that follow, for those with `c_goes_on`.
        """
        raise ValueError(f"{self.name} has no C text")

    def multiply_adds(self, node: Node, shape: Shape) -> int:
        """Multiplications with additions that one image costs, for that shape of the output."""
        return 0

    def onnx(self, model: Any, node: Node, *inputs: str) -> str:
        """Write it into an ONNX model, a `cnn_ext.onnx.exporter.Writer`; the name of the value.

        What reads it stands in the file of the same name with ``_onnx``.

        Raises ValueError if there is no such form.
        """
        raise ValueError(f"{self.name} has no form in ONNX")
