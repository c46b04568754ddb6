"""
A web service under load
========================

A trained network answers over HTTP. A plan, the compiled form of a network, never
changes and may be called by any number of threads, so the service is a function of few
lines. How long does an answer take, and what happens when many ask at once? This page
starts a real server on this machine and asks it. It needs ``pip install fastapi uvicorn
httpx``.
"""

import threading
import time

import httpx
import matplotlib.pyplot as plt
import numpy as np
import uvicorn
from fastapi import FastAPI, HTTPException, Request

from cnn_ext import Trainer, architectures, datasets

plt.style.use(["tableau-colorblind10", {"figure.constrained_layout.use": True}])

# %%
# The network
# -----------

digits = datasets.digits()
net = architectures.build("tiny", (1, 8, 8), 10, rng=np.random.default_rng(0))
images = digits.x_train, digits.y_train
Trainer(net).fit(
    *images, epochs=10, batch_size=32, schedule="one-cycle", progress=False
)
plan = net.compile()

# %%
# The service
# -----------
# A request brings 64 numbers of four bytes. Whatever has another length is refused,
# with a message that says what was expected. One image takes microseconds, less than
# handing it to another thread would, so the function computes where it is called.

app = FastAPI()
SIZE = 4 * 64


@app.post("/digit")
async def digit(request: Request):
    body = await request.body()
    if len(body) != SIZE:
        raise HTTPException(422, f"body: expected {SIZE} bytes, got {len(body)}")
    label, probability = plan.classify(np.frombuffer(body, "<f4").reshape(1, 8, 8))
    return {"digit": label, "probability": round(probability, 4)}


config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning")
server = uvicorn.Server(config)
thread = threading.Thread(target=server.run, daemon=True)
thread.start()
while not server.started:
    time.sleep(0.01)
    assert thread.is_alive(), "the server has not started"
host, port = server.servers[0].sockets[0].getsockname()
url = f"http://{host}:{port}/digit"

# %%
# A right request and a wrong one:

bodies = [np.ascontiguousarray(image, "<f4").tobytes() for image in digits.x_test]
right = httpx.post(url, content=bodies[0], trust_env=False)
wrong = httpx.post(url, content=b"hello", trust_env=False)
print(right.status_code, right.json(), "- the true digit is", digits.y_test[0])
print(wrong.status_code, wrong.json())
assert (right.status_code, wrong.status_code) == (200, 422)

# %%
# The load
# --------
# Each client is a thread that keeps its connection, sends the next image as soon as it
# has the answer to the last, and notes how long it waited. All answers must be those of
# the plan.

answers = plan.predict(digits.x_test)


def client(number, requests, latencies):
    with httpx.Client(trust_env=False) as connection:
        for i in range(number, number + requests):
            image = i % len(bodies)
            start = time.perf_counter()
            answer = connection.post(url, content=bodies[image])
            seconds = time.perf_counter() - start
            if answer.json()["digit"] == answers[image]:
                latencies.append(1000 * seconds)


measured, rates = {}, {}
for clients in (1, 4, 16):
    waited = [[] for _ in range(clients)]
    works = [(20 * n, 400 // clients, waited[n]) for n in range(clients)]
    threads = [threading.Thread(target=client, args=work) for work in works]
    start = time.perf_counter()
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    rates[clients] = 400 / (time.perf_counter() - start)
    measured[clients] = np.concatenate(waited)
    assert len(measured[clients]) == 400  # every request was answered rightly

server.should_exit = True
thread.join()

for clients, latencies in measured.items():
    half, most, nearly_all = np.percentile(latencies, [50, 90, 99])
    print(
        f"{clients:2} clients, {rates[clients]:.0f} answers/s: "
        f"half within {half:.1f} ms, 90 % {most:.1f} ms, 99 % {nearly_all:.1f} ms"
    )

# %%
# The histogram
# -------------
# The network itself takes microseconds, so what is seen is HTTP, the event loop, and
# waiting for one's turn: with more clients each waits longer. Client and server share
# one Python process here, whose lock lets one of them run at a time; on its own the
# server does better.

start = time.perf_counter()
for image in digits.x_test:
    plan.classify(image)
alone = 1e6 * (time.perf_counter() - start) / len(digits.x_test)
print(f"the plan alone: {alone:.0f} µs an image")
assert alone / 1000 < np.median(measured[1]) < np.median(measured[16])

fig, ax = plt.subplots(figsize=(7.5, 4))
longest = max(np.percentile(latencies, 99.5) for latencies in measured.values())
bins = np.geomspace(min(map(np.min, measured.values())), longest, 60)
for clients, style in ((1, "-"), (4, "--"), (16, "-.")):
    label = f"{clients}: {rates[clients]:.0f} answers/s"
    ax.hist(measured[clients], bins, histtype="step", lw=2, ls=style, label=label)
ax.set(xscale="log", xlabel="latency, ms", ylabel="requests of 400")
ax.legend(title="clients at once")
ax.grid(alpha=0.3)
plt.show()
