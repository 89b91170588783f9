"""Has clients of Close from PyPI meet the gateway's 429 at the base URL and with the key that stand on stdin as JSON.

Prints, as JSON, how long each of them waited, in seconds, after asking more often than it may. A client that does not get
its answer in the end ends it with an error.
"""

import json
import sys
import time

import close_dot_io.client
import closeio_api
import tap_closeio.http

CALLS = 3


def official(base, key):
    api = closeio_api.API(base, key)
    return [api.get("me")["id"] for _ in range(CALLS)]


def close_dot(base, key):
    client = close_dot_io.client.CloseClient(api_key=key)
    client.base_url = base
    return [client.dispatch(endpoint="me/")["id"] for _ in range(CALLS)]


def tap(base, key):
    tap_closeio.http.BASE_URL = base
    client = tap_closeio.http.Client({"api_key": key, "user_agent": "tests"})
    request = tap_closeio.http.create_get_request
    return [client.request_with_handling("me", request("/me/"))["id"] for _ in range(CALLS)]


def main():
    told = json.load(sys.stdin)
    really_sleep = time.sleep
    waits = {}
    for client in (official, close_dot, tap):
        waited = waits[client.__name__] = []

        def sleep(seconds):
            waited.append(seconds)
            really_sleep(seconds)

        time.sleep = sleep
        ids = client(told["base"], told["keys"][client.__name__])
        assert len(ids) == CALLS and all(one.startswith("user_") for one in ids), ids
    json.dump(waits, sys.stdout)


if __name__ == "__main__":
    main()
