"""Draw the network with γ in blue: `python docs/images/network.py` writes the README's pictures.

The flow goes from the token ids at the bottom to the logits at the top.
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.patches import Circle, FancyBboxPatch, Polygon

plt.rcParams |= {"svg.hashsalt": "minipeft", "svg.fonttype": "path", "font.family": "DejaVu Sans"}
THEMES = {  # name of the file: ink, faint ink, fill of frozen boxes, γ, fill of γ
    "network-light": ("#24292f", "#8c959f", "#eef1f4", "#0969da", "#ddf0ff"),
    "network-dark": ("#e6edf3", "#7d8590", "#262c36", "#58a6ff", "#12355c"),
}
X = 2.75  # the middle of the trunk
Q, K, V = X - 1.15, X, X + 1.15
LEFT, SIDE = X - 1.85, X + 2.05  # residual connections; parallel adapters
LABEL = 5.5  # where the labels of γ begin
SIZE = 9.6, 8.8


class Drawing:
    """A picture in one theme; coordinates are inches."""

    def __init__(self, ink, faint, fill, blue, blue_fill):
        self.ink, self.faint, self.fill = ink, faint, fill
        self.blue, self.blue_fill = blue, blue_fill
        self.figure = plt.figure(figsize=SIZE)
        self.axes = self.figure.add_axes([0, 0, 1, 1])
        self.axes.set(xlim=(0, SIZE[0]), ylim=(0, SIZE[1]))
        self.axes.axis("off")

    def text(self, x, y, s, colour=None, size=9.5, **style):
        style = {"ha": "center", "va": "center"} | style
        self.axes.text(x, y, s, color=colour or self.ink, size=size, **style)

    def line(self, *points, colour=None, arrow=True, width=1.0, style="-"):
        colour = colour or self.faint
        self.axes.plot(*zip(*points), style, color=colour, lw=width, zorder=1)
        if arrow:
            head = {"arrowstyle": "-|>", "mutation_scale": 8, "shrinkA": 0, "shrinkB": 0}
            head |= {"color": colour, "lw": width}
            self.axes.annotate("", points[-1], points[-2], arrowprops=head)

    def box(self, x, y, name, width=0.85, height=0.3, **style):
        corner = x - width / 2, y - height / 2
        style = {"ec": self.faint, "fc": self.fill, "zorder": 2} | style
        shape = "round,pad=0,rounding_size=0.06"
        self.axes.add_patch(FancyBboxPatch(corner, width, height, shape, **style))
        self.text(x, y, name, family="DejaVu Sans Mono", zorder=3)

    def circle(self, x, y, s, blue=False):
        edge = self.blue if blue else self.faint
        self.axes.add_patch(
            Circle((x, y), 0.1, ec=edge, fc=self.blue_fill if blue else self.fill, zorder=2)
        )
        self.text(x, y, s, self.blue if blue else None, 8.5, zorder=3)

    def bottleneck(self, x, y, width=0.32, height=0.32):
        """Draw a product of two thin matrices."""
        w, n, h = width / 2, width / 9, height / 2
        hourglass = [(-w, -h), (w, -h), (n, 0), (w, h), (-w, h), (-n, 0)]
        corners = [(x + dx, y + dy) for dx, dy in hourglass]
        self.axes.add_patch(Polygon(corners, ec=self.blue, fc=self.blue_fill, zorder=2))

    def cells(self, x, y, virtual, text, size=0.15):
        """Draw a row of virtual tokens and tokens, centred at x."""
        left = x - (virtual + text) * size / 2
        for i in range(virtual + text):
            edge, fill = (self.blue, self.blue_fill) if i < virtual else (self.faint, self.fill)
            corner = (left + i * size + 0.01, y - size / 2)
            side = size - 0.02
            self.axes.add_patch(plt.Rectangle(corner, side, side, ec=edge, fc=fill, zorder=2))

    def residual(self, start, end):
        """Draw a residual connection on the left."""
        self.line((X, start), (LEFT, start), (LEFT, end), (X - 0.1, end))

    def beside(self, x, y):
        """Draw a low-rank branch at the right of a layer."""
        side = x + 0.47
        self.line((x, y - 0.22), (side, y - 0.22), (side, y - 0.15), arrow=False, colour=self.blue)
        self.bottleneck(side, y)
        self.line((side, y + 0.15), (side, y + 0.23), (x + 0.02, y + 0.23), colour=self.blue)

    def adapter(self, start, end):
        """Draw an adapter after a layer, at the left."""
        middle, low, high = (start + end) / 2, start + 0.05, end - 0.05
        self.line((X, start), (X, end + 0.01))
        self.line((X, low), (X - 0.5, low), (X - 0.5, high), (X - 0.02, high), colour=self.blue)
        self.bottleneck(X - 0.5, middle, height=0.28)

    def parallel(self, start, end):
        """Draw an adapter at the right of a sub-layer."""
        points = (X, start), (SIDE, start), (SIDE, end), (X + 0.1, end)
        self.line(*points, colour=self.blue)
        self.bottleneck(SIDE, (start + end) / 2 + 0.1)

    def label(self, y, names, equation, to=None):
        """Write what γ is, and draw a thin line from its place."""
        if to is not None:
            self.line(to, (LABEL - 0.08, y), arrow=False, colour=self.blue, width=0.6, style=":")
        self.text(LABEL, y, names, self.blue, 9.5, ha="left", family="DejaVu Sans Mono")
        self.text(LABEL + 1.85, y, equation, self.ink, 9.5, ha="left")


def draw(d):
    draw_input(d)
    draw_attention(d)
    draw_mlp(d)
    draw_output(d)
    draw_labels(d)


def draw_input(d):
    d.text(X, 0.2, "ids   (B, T)")
    d.line((X, 0.32), (X, 0.52))
    d.box(X, 0.67, "tokens")
    d.line((X, 0.82), (X, 1.0))
    d.cells(X, 1.09, 3, 6)
    d.line((X, 1.18), (X, 1.56))
    d.box(X + 0.12, 4.43, "", 4.5, 5.98, fc="none", ls="--")
    d.text(X - 2.02, 1.62, "block, L ×", d.faint, 9, ha="left")


def draw_attention(d):
    d.cells(X, 1.65, 2, 6)
    d.line((X, 1.74), (X, 1.97))
    d.residual(1.85, 4.92)
    d.box(X, 2.12, "ln1")
    for x in (Q, K, V):
        d.line((X, 2.27), (X, 2.42), (x, 2.42), (x, 2.52))
    for x, name in (Q, "q"), (K, "k"), (V, "v"):
        d.box(x, 2.67, name, 0.5)
    for x in (Q, V):
        d.beside(x, 2.67)
    d.line((Q, 2.82), (Q, 3.58))
    for x in (K, V):
        d.line((x, 2.82), (x, 3.22))
        d.circle(x, 3.05, "×", blue=True)
        d.cells(x, 3.31, 2, 4)
        d.line((x, 3.4), (x, 3.58))
    d.box(X, 3.74, "softmax(q kᵀ / √d) v", 3.0, 0.32)
    d.line((X, 3.9), (X, 4.02))
    d.box(X, 4.15, "o", 0.5, 0.26)
    d.adapter(4.28, 4.82)
    d.parallel(2.34, 4.92)
    d.circle(X, 4.92, "+")
    d.text(X - 1.5, 4.4, "attn", d.faint, 9, family="DejaVu Sans Mono")


def draw_mlp(d):
    d.line((X, 5.02), (X, 5.23))
    d.residual(5.12, 7.18)
    d.box(X, 5.36, "ln2", height=0.26)
    d.line((X, 5.49), (X, 5.65))
    d.box(X, 5.78, "up", height=0.26)
    d.line((X, 5.91), (X, 6.28))
    d.circle(X, 6.08, "×", blue=True)
    d.box(X, 6.41, "down", height=0.26)
    d.adapter(6.54, 7.08)
    d.parallel(5.57, 7.18)
    d.circle(X, 7.18, "+")
    d.text(X - 1.5, 6.08, "mlp", d.faint, 9, family="DejaVu Sans Mono")


def draw_output(d):
    d.line((X, 7.28), (X, 7.6))
    d.box(X, 7.75, "ln")
    d.line((X, 7.9), (X, 8.07))
    d.box(X, 8.22, "head or score", 1.5)
    d.line((X, 8.37), (X, 8.54))
    d.text(X, 8.65, "logits   (B, T, V) or (B, C)")


def draw_labels(d):
    d.text(LABEL, 0.2, "γ, in blue: all that is trained", d.blue, 9.5, ha="left", weight="bold")
    d.label(0.8, "pseudo ptuning", "rows of pseudo-tokens", (X + 0.43, 0.7))
    d.label(1.15, "prompt multitask", "[P; X]", (X + 0.68, 1.09))
    d.label(1.65, "deep", "[S; H] in every block", (X + 0.61, 1.65))
    d.label(2.12, "norms", "g', b' in place of g, b", (X + 0.43, 2.12))
    d.label(2.67, "lora dora", "W + (α/r) B A", (V + 0.65, 2.67))
    d.label(3.05, "ia3", "l ⊙ k,  l ⊙ v,  l ⊙ σ(…)", (V + 0.1, 3.05))
    d.label(3.42, "prefix ptuning2", "[P_key; K], [P_value; V]", (V + 0.46, 3.31))
    d.label(4.0, "parallel multihead", "+ s relu(x W_down) W_up", (SIDE + 0.12, 3.74))
    d.label(4.55, "adapter", "h + W_up σ(W_down h)", (X + 0.02, 4.55))
    d.label(8.22, "probe", "W, with a frozen trunk", (X + 0.75, 8.22))
    d.text(LABEL, 6.65, "in every layer:", d.faint, 9, ha="left")
    d.label(5.75, "bitfit", "b + δ")
    d.label(6.05, "random", "W + δ at a few places")
    d.label(6.35, "full", "W' in place of W")


if __name__ == "__main__":
    for name, theme in THEMES.items():
        drawing = Drawing(*theme)
        draw(drawing)
        path = Path(__file__).with_name(f"{name}.svg")
        drawing.figure.savefig(path, transparent=True, metadata={"Date": None})
        plt.close(drawing.figure)
