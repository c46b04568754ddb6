"""The panel in which the network works: a field, answers, and what each layer makes of it."""

from __future__ import annotations

from collections.abc import Sequence

from .inputs import Inputs
from .panels import by, panel

KEYS = (
    "Arrow keys move the pen, the space bar lowers and lifts it, Backspace takes back the last "
    "stroke, Delete clears."
)


def live(look: Inputs, classes: Sequence[str]) -> str:
    """The panel; `live.js` brings it to life."""
    label = f"Drawing field. {KEYS}" if look.drawable else "The picture that the network gets"
    kind = "picture" if look.pictures else "example"
    tools = f'<button type="button" id="next">Next test {kind}</button>'
    if look.drawable:
        tools = (
            '<button type="button" id="clear">Clear</button><button type="button" id="undo">Undo'
            f"</button>{tools}"
        )
    if look.pictures:
        tools += (
            '<label class="button">Choose a picture<input type="file" id="file" accept="image/*">'
            "</label>"
        )
    focus = 'tabindex="0" role="application"' if look.drawable else 'role="img"'
    seen = ""
    if look.pictures:
        seen = (
            '<figure class="seen"><canvas id="seen" role="img" aria-label="What the network gets">'
            f"</canvas><figcaption>What the network gets: {by(look.shape)} numbers</figcaption>"
            "</figure>"
        )
    widest = min(max(map(len, classes)), 16)
    body = f"""<div class="live">
<div class="pad"><canvas id="pad" {focus} aria-label="{label}"></canvas>
<div class="tools">{tools}</div></div>
<div class="answer"><p class="source" id="source"></p>
<div id="answer"></div><p class="unseen" id="said" role="status"></p>
<ol id="bars" class="bars" style="--name:{widest + 1}ch"></ol></div>
{seen}</div>
{_meaning(look)}
<h3>Layer by layer</h3>
<p class="legend"><span class="below"></span> below 0 <span class="above"></span> above 0; the
deeper the colour, the further. Every layer has its own scale.</p>
<div id="steps"></div>
<noscript><p>The network needs JavaScript, which is switched off here.</p></noscript>
"""
    return panel("live", "Try it", _how(look), body, wide=True)


def _how(look: Inputs) -> str:
    if look.drawable:
        return (
            "Draw on the field, with mouse, finger or keyboard. The network works here, in this "
            "page: every layer and every probability follows the pen."
        )
    if look.pictures:
        return (
            "Choose a picture, or drop one on the page. The network works here, in this page: see "
            "what each layer makes of it."
        )
    return (
        "Go through examples of the test part: what this network takes can neither be drawn nor "
        "chosen as a picture. It works here, in this page."
    )


def _meaning(look: Inputs) -> str:
    # how a drawing becomes what the network takes
    if not look.pictures:
        return ""
    said = [f"Black becomes {look.low:.4g} and white {look.high:.4g}, as in the test pictures."]
    if look.box:
        said.append(
            f"A drawing is scaled until its longer side has {look.box} pixels, and its centre of "
            "mass is put in the middle: so it is in the test pictures. A picture that you choose "
            "is taken as it is if it has the right size; else what is on it is cut out and treated "
            "alike, and inverted if its edge is light."
        )
    else:
        said.append("A picture of another size is resized without regard to its proportions.")
    if look.drawable:
        said.insert(0, f"Keyboard: {KEYS}")
    items = "".join(f"<p>{text}</p>" for text in said)
    return f'<details class="note"><summary>How it works</summary>{items}</details>'
