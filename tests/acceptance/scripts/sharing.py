"""Sharing of jobs, models and datasets, where the server has one user and so nobody else."""

from __future__ import annotations

import qai_hub as hub
from client_side import host, images, main, net, refused, succeeded

FRIEND = "friend@example.com"


def _goes_through(shared: hub.Job | hub.Model | hub.Dataset) -> None:
    assert list(shared.get_sharing()) == []
    with refused(hub.UserError, "one user", FRIEND):
        shared.modify_sharing(add_emails=[FRIEND])
    assert list(shared.get_sharing()) == []
    shared.modify_sharing(delete_emails=[FRIEND])
    shared.disable_sharing()
    assert list(shared.get_sharing()) == []
    with refused(hub.UserError, "specified and non-empty"):
        shared.modify_sharing()
    with refused(hub.UserError, "must both be lists"):
        shared.modify_sharing(add_emails=FRIEND)


def check_model() -> None:
    _goes_through(net())


def check_dataset() -> None:
    _goes_through(hub.upload_dataset({"image": images(1)}))


def check_job() -> None:
    _goes_through(succeeded(hub.submit_compile_job(net(), host())))


if __name__ == "__main__":
    main(check_model, check_dataset, check_job)
