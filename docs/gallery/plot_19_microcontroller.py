"""
A network on a microcontroller
==============================

A trained network becomes one C file: weights as constants, buffers of a fixed size, no
memory from the heap, nothing to link but the mathematical library. That suits a
processor with some kilobytes of memory. This page compiles such a file for an ARM
processor and runs it in an emulator; where the cross compiler or the emulator is
missing, it says so and takes the compiler of this machine.
"""

# sphinx_gallery_thumbnail_number = 2

import shutil
import subprocess
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from cnn_ext import (
    Conv2d,
    Flatten,
    Linear,
    MaxPool2d,
    ReLU,
    Sequential,
    Trainer,
    datasets,
)
from cnn_ext.c.source import write_c
from cnn_ext.layers import graph_of

plt.style.use(["tableau-colorblind10", {"figure.constrained_layout.use": True}])
digits = datasets.digits()

# %%
# The target
# ----------
# On Debian and Ubuntu ``apt-get install gcc-arm-linux-gnueabihf qemu-user`` brings both
# programs. The instructions are Thumb, the dense ones that ARM's microcontrollers have.

ARM = "arm-linux-gnueabihf-"
if shutil.which(f"{ARM}gcc") and shutil.which("qemu-arm"):
    compiler, size = [f"{ARM}gcc", "-mthumb", "-static"], f"{ARM}size"
    emulator, target = ["qemu-arm"], "ARM, Thumb"
else:
    print("no ARM cross compiler or no qemu-arm: taking this machine's compiler")
    compiler, size, emulator, target = ["cc"], "size", [], "this machine"

# %%
# The program
# -----------
# The main function reads images from its standard input and writes the outputs of the
# network. On a microcontroller the images would come from a sensor.

main = """
#include <stdio.h>
#include "net.h"

int main(void)
{
    static float image[NET_INPUTS], outputs[NET_OUTPUTS];
    while (fread(image, sizeof image, 1, stdin) == 1) {
        net_predict(image, outputs);
        fwrite(outputs, sizeof outputs, 1, stdout);
    }
    return 0;
}
"""
folder = tempfile.TemporaryDirectory()
Path(folder.name, "main.c").write_text(main)


def run(*command, given=b""):
    """What a command writes that is given these bytes."""
    streams = {"input": given, "stdout": subprocess.PIPE}
    return subprocess.run(command, cwd=folder.name, check=True, **streams).stdout


def on_target(net):
    """Outputs for the test images, bytes of flash, bytes of RAM."""
    write_c(graph_of(net, (1, 8, 8)), Path(folder.name, "net.c"))
    run(*compiler, "-Os", "-c", "net.c")
    run(*compiler, "-Os", "main.c", "net.o", "-o", "digits", "-lm")
    images = np.ascontiguousarray(digits.x_test, "<f4").tobytes()
    answers = run(*emulator, "./digits", given=images)
    sizes = run(size, "net.o").decode()
    text, data, bss = map(int, sizes.splitlines()[1].split()[:3])
    return np.frombuffer(answers, "<f4").reshape(-1, 10), text + data, data + bss


# %%
# Four networks
# -------------
# The same layers with 2 to 16 maps in the first. All are trained in Python and then run
# on the target.


def network(width):
    net = Sequential(
        *(Conv2d(1, width, 3, padding=1), ReLU(), MaxPool2d(2)),
        *(Conv2d(width, 2 * width, 3, padding=1), ReLU(), MaxPool2d(2)),
        *(Flatten(), Linear(8 * width, 10)),
    )
    net.initialize("he", np.random.default_rng(0))
    Trainer(net).fit(
        digits.x_train, digits.y_train, epochs=20, batch_size=32,
        schedule="one-cycle", progress=False,
    )  # fmt: skip
    return net


widths = [2, 4, 8, 16]
networks = {width: network(width) for width in widths}
found = {width: on_target(net) for width, net in networks.items()}
for width, (outputs, flash, ram) in found.items():
    right = (outputs.argmax(axis=1) == digits.y_test).mean()
    adds = networks[width].multiply_adds((1, 8, 8))
    print(f"{width:2} maps: {right:.1%} right, {adds:,} multiply-adds an image")
    print(f"         {flash:,} bytes of flash, {ram:,} of RAM")
folder.cleanup()

# %%
# The same answers
# ----------------
# C file and Python differ in the order of their sums, so the outputs agree up to
# rounding. The classes are the same.

differences = {}
for width, (outputs, _, _) in found.items():
    expected = networks[width].compile()(digits.x_test)
    differences[width] = abs(outputs - expected).max(axis=1) / abs(expected).max()
    assert differences[width].max() < 1e-5
    assert (outputs.argmax(axis=1) == expected.argmax(axis=1)).all()

fig, ax = plt.subplots(figsize=(7, 3.4))
ax.boxplot([np.maximum(d, 1e-9) for d in differences.values()], tick_labels=widths)
eps = np.finfo(np.float32).eps
ax.axhline(eps, color="C1", ls="--", label="spacing of float32 at 1")
ax.set(xlabel="maps in the first layer", ylabel="difference, by the largest output")
ax.set(yscale="log", title=f"outputs on the target ({target}) and in Python")
ax.legend()

# %%
# What fits
# ---------
# Flash holds code and weights, RAM the buffers. The lines are those of an STM32F103C8,
# a common microcontroller with a Cortex-M3: 64 KB of flash and 20 KB of RAM. It has no
# unit for floating point, so it would compute in software, slowly; a Cortex-M4F has
# one. How fast that is the emulator cannot tell.

fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8))
flash, ram = ([found[width][part] / 1024 for width in widths] for part in (1, 2))
accuracy = [100 * (found[w][0].argmax(axis=1) == digits.y_test).mean() for w in widths]
left.plot(widths, flash, "o-", label="flash: code and weights")
left.plot(widths, ram, "s--", label="RAM: buffers")
left.axhline(64, color="C0", ls=":", lw=1)
left.axhline(20, color="C1", ls=":", lw=1)
left.set(xscale="log", yscale="log", xlabel="maps in the first layer", ylabel="KB")
left.set_xticks(widths, widths)
left.minorticks_off()
left.legend()
right.plot(flash, accuracy, "o-")
for width, x, y in zip(widths, flash, accuracy, strict=True):
    place = {"xytext": (8, -10), "textcoords": "offset points"}
    right.annotate(f"{width} maps", (x, y), **place)
right.margins(0.15)
right.set(xlabel="flash, KB", ylabel="accuracy on the test set, %")
for ax in (left, right):
    ax.grid(alpha=0.3)
assert flash == sorted(flash) and flash[-1] < 64
plt.show()
