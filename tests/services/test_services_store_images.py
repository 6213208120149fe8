"""What images of stores are called where they are published."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiopslab.errors import ContentError
from aiopslab.models.workload import Image
from aiopslab.services.catalogue import app_names, load_app
from aiopslab.services.store_images import published, store_images

DIGEST = "sha256:" + "0123456789abcdef" * 4


def user_content(folder: Path, text: str) -> Path:
    (folder / "services").mkdir(parents=True)
    (folder / "services" / "stores.yaml").write_text(text, encoding="utf-8")
    return folder


def test_every_store_of_every_app_is_pinned_by_version_and_digest() -> None:
    images = {s.image.ref: s.image for name in app_names() for s in load_app(name).stores.values()}
    assert images
    for ref, image in images.items():
        named, at, digest = published(image, pinned=True).partition("@")
        assert (at, len(digest)) == ("@", len(DIGEST)), ref
        assert named == published(image, pinned=False)
        assert named.endswith(f":{image.version}")


def test_an_image_or_a_version_that_no_file_knows_is_called_as_the_app_calls_it() -> None:
    assert published(Image(name="mongo", version="8"), pinned=True) == "mongo:8"
    assert published(Image(name="valkey", version="9"), pinned=True) == "valkey/valkey:9"


def test_what_a_users_file_says_of_an_image_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "schema: aiopslab/store-images@1\n"
        f'images: {{valkey: {{repository: r.example/v, digests: {{"8.1.1": "{DIGEST}"}}}}}}\n'
    )
    ours = store_images()
    monkeypatch.setenv("AIOPSLAB_CONTENT", str(user_content(tmp_path, text)))
    valkey = Image(name="valkey", version="8.1.1")
    assert published(valkey, pinned=True) == f"r.example/v:8.1.1@{DIGEST}"
    assert store_images()["postgres"] == ours["postgres"]


def test_a_digest_that_is_none_is_refused_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "schema: aiopslab/store-images@1\nimages:\n  nats:\n    repository: nats\n"
        '    digests: {"2.11.4": "sha256:12ab"}\n'
    )
    monkeypatch.setenv("AIOPSLAB_CONTENT", str(user_content(tmp_path, text)))
    with pytest.raises(ContentError, match=r"stores\.yaml:5: images\.nats\.digests\.2\.11\.4"):
        store_images()
