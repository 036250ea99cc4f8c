"""Staging one store from several hosts at once: one works, the others say who."""

import subprocess

import pytest
from staged_alone import SMALL, command, write_sources

from pipeline.claims import detecting
from pipeline.data.store import Store
from pipeline.outcome import Exit


def test_of_three_hosts_one_stages_a_store(tmp_path, monkeypatch):
    monkeypatch.setenv(detecting.VARIABLE, "4")
    sources = write_sources(tmp_path / "raw", 4)
    store = tmp_path / "events.zarr"
    verb = command(store, *sources, *SMALL, "--workers", 1)
    hosts = [
        subprocess.Popen(
            ["unshare", "--uts", "sh", "-c", f'hostname login0{number} && exec "$@"', "sh", *verb],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    said = [each.communicate(timeout=200)[1] for each in hosts]
    if any("unshare" in each for each in said):
        pytest.skip(f"no other host names here: {said}")
    assert sorted(each.returncode for each in hosts) == [0, Exit.BUSY, Exit.BUSY], said
    working = next(each for each in hosts if each.returncode == 0)
    for each, words in zip(hosts, said, strict=True):
        if each is not working:
            assert f"process {working.pid} on login0" in " ".join(words.split())
    assert Store.open(store).events("train") == 4 * 7
