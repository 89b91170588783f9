"""Lets the official Close client keep leads at the base URL and with the key that stand on stdin as JSON: it lists, makes
and changes some, and deletes none. With `forbidden` it then tries to delete one, and the gateway must refuse that.

Prints, as JSON, how many requests it sent.
"""

import json
import sys

from closeio_api import API, APIError


def main():
    told = json.load(sys.stdin)
    sent = []
    # One attempt: an answer that the client would wait for and try again is a fault here.
    api = API(told["base"], told["key"], max_retries=1)
    api.session.hooks["response"].append(lambda response, **_: sent.append(response.status_code))

    assert api.get("me")["id"].startswith("user_")
    for lead in api.get("lead", {"_limit": 2, "_fields": "id"})["data"]:
        api.get(f"lead/{lead['id']}")
    lead = api.post("lead", {"name": "Bluth Company"})["id"]
    assert api.put(f"lead/{lead}", {"name": "Sitwell Enterprises"})["name"] == "Sitwell Enterprises"
    assert api.post("contact", {"lead_id": lead, "name": "Lucille Austero"})["lead_id"] == lead
    assert all(status == 200 for status in sent), sent

    if told["forbidden"]:
        try:
            api.delete(f"lead/{lead}")
        except APIError as error:
            assert error.response.status_code == 403, error
            assert error.response.headers["closegate-error"] in ("scope_missing", "path_denied"), error.response.headers
        else:
            raise AssertionError("the lead is deleted")
    json.dump(len(sent), sys.stdout)


if __name__ == "__main__":
    main()
