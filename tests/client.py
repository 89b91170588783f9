"""Lets the official Close client work on leads at the base URL and with the key that stand on stdin as JSON.

Prints, as JSON, every answer that the client got. Whatever is not as Close's API says ends it with an error.
"""

import json
import sys

from closeio_api import API, APIError, ValidationError


def main():
    told = json.load(sys.stdin)
    answers = []

    def remember(response, **_):
        answers.append({
            "asked": f"{response.request.method} {response.request.path_url}",
            "status": response.status_code,
            "headers": dict(response.headers),
            "body": response.text,
        })

    # One attempt: an answer that the client would wait for and try again is a fault here.
    api = API(told["base"], told["key"], max_retries=1)
    api.session.hooks["response"].append(remember)
    work(api)
    refused(api)

    stranger = API(told["base"], told["stranger"], max_retries=1)
    stranger.session.hooks["response"].append(remember)
    error = fails(APIError, lambda: stranger.get("me"))
    assert error.response.status_code == 401, error
    json.dump(answers, sys.stdout)


def work(api):
    """Lists, creates, updates and deletes leads, as a tool does."""
    assert api.get("me")["id"].startswith("user_")
    before = everything(api)

    made = [api.post("lead", {"name": f"Bluth Company {n}", "url": "https://bluth.example/ä?b=c&d"}) for n in range(3)]
    assert [lead["name"] for lead in made] == [f"Bluth Company {n}" for n in range(3)], made
    assert everything(api) == before | {lead["id"] for lead in made}

    lead = f"lead/{made[0]['id']}"
    assert api.put(lead, {"name": "Sitwell Enterprises"})["id"] == made[0]["id"]
    assert api.get(lead)["name"] == "Sitwell Enterprises"
    contact = api.post("contact", {"lead_id": made[0]["id"], "name": "Lucille Austero"})
    assert contact["lead_id"] == made[0]["id"], contact

    for lead in made:
        api.delete(f"lead/{lead['id']}")
    assert everything(api) == before


def everything(api):
    """The ids of all leads, page by page."""
    found, skip = set(), 0
    while True:
        page = api.get("lead", {"_skip": skip, "_limit": 2, "_fields": "id"})
        found |= {lead["id"] for lead in page["data"]}
        skip += len(page["data"])
        if not page["has_more"]:
            return found


def refused(api):
    """What Close refuses reaches the client as Close says it."""
    error = fails(APIError, lambda: api.get("lead/lead_absent"))
    assert error.response.status_code == 404, error
    assert "closegate-error" not in error.response.headers, error.response.headers
    error = fails(ValidationError, lambda: api.post("contact", {"name": 7, "lead_id": "lead_absent"}))
    assert error.errors or error.field_errors, error
    error = fails(APIError, lambda: api.get("api_key"))
    assert error.response.headers["closegate-error"] == "secrets_endpoint", error.response.headers


def fails(kind, call):
    try:
        answer = call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__} but {answer}")


if __name__ == "__main__":
    main()
