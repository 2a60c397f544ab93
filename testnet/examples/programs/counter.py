"""Calls a counter over plain HTTP, with nothing but Python: python3 counter.py GATEWAY REFERENCE

    python3 counter.py http://127.0.0.1:8080 "$(cat quorate-testnet/refs/counter.ref)"
"""

import json
import sys
import time
import urllib.error
import urllib.request
import uuid


class Rejected(Exception):
    """The vat's own code rejected a call."""


def call(gateway, reference, method, *args, attempts=5):
    """Calls a method of what a reference opens. With a key it is done once, however often it is tried."""
    place, secret = reference.split("#")
    vat, name = place.removeprefix("vat://").split("/")
    headers = {
        "Authorization": f"Bearer {secret}",
        "Content-Type": "application/json",
        "Idempotency-Key": str(uuid.uuid4()),
    }
    url = f"{gateway}/v1/vats/{vat}/objects/{name}/{method}"
    for attempt in range(attempts):
        request = urllib.request.Request(url, json.dumps(args).encode(), headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["result"]
        except urllib.error.HTTPError as error:
            problem = json.load(error)
            if problem["code"] == "Q-G001":
                raise Rejected(problem["detail"]) from None
            if error.code not in (409, 429, 503, 504):
                raise RuntimeError(f"{problem['code']}: {problem['detail']}") from None
        except (urllib.error.URLError, TimeoutError):
            # The host is away; it finds the call again by its key.
            pass
        time.sleep(2**attempt)
    raise TimeoutError(f"{method} was not answered")


if __name__ == "__main__":
    gateway, reference = sys.argv[1:]
    print("five more:", call(gateway, reference, "increment", 5))
    print("now:", call(gateway, reference, "read"))
    try:
        call(gateway, reference, "increment", "five")
    except Rejected as why:
        print("refused:", why)
