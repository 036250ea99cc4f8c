"""Secrets in addresses: masked wherever they stand, and nothing else is."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.masking import (
    MASK,
    UnsetVariableError,
    expanded,
    has_secret,
    masked,
    print_traceback,
    unexpanded,
)

SCHEMES = st.sampled_from(["https", "http", "root", "s3", "ftp", "zip://a/b.npz::https"])
HOSTS = st.sampled_from(["host", "host.example.org:8443", "127.0.0.1:80", "[::1]:9000"])
PATHS = st.sampled_from(["", "/", "/a/b.root", "//eos/x@2.npz", "/a:b/c", "/@user/x"])
ALPHABET = string.ascii_letters + string.digits + "%+-./:=_~"
# Marked, so that no part of a secret can be taken for a part of the rest.
SECRETS = (
    st.text(ALPHABET + "!$*,@[]^|'\"(){}", min_size=1)
    .map(lambda text: f"Sec{text}ret")
    .filter(lambda text: not {"@", "/"} <= {*text})  # an address of another host
)
QUERY_SECRETS = st.text(ALPHABET, min_size=1).map(lambda text: f"Sec{text}ret")
USERS = st.text(string.ascii_letters + string.digits, min_size=1, max_size=8)
NAMES = st.sampled_from(["sig", "token", "X-Amz-Signature", "sv", "p", "access_token", "k1"])
AROUND = st.sampled_from(
    ["{}", "cannot read {}: no", "({})", "'{}', tried 4 times.", "see {}, or a@b"]
)


@given(SCHEMES, HOSTS, PATHS, USERS, SECRETS, AROUND)
def test_no_part_of_a_password_is_shown(scheme, host, path, user, secret, around):
    shown = masked(around.format(f"{scheme}://{user}:{secret}@{host}{path}"))
    assert not any(secret[i : i + 4] in shown for i in range(len(secret) - 3)), shown
    assert f"://{MASK}@" in shown
    assert masked(shown) == shown


@given(SCHEMES, HOSTS, PATHS, st.lists(st.tuples(NAMES, QUERY_SECRETS), min_size=1), AROUND)
def test_no_part_of_a_signature_is_shown(scheme, host, path, pairs, around):
    query = "&".join(f"{name}={secret}" for name, secret in pairs)
    shown = masked(around.format(f"{scheme}://{host}{path}?download=1&{query}#id=7"))
    assert "Sec" not in shown
    assert "ret" not in shown
    assert f"{host}{path}?download=1&{pairs[0][0]}={MASK}" in shown
    assert masked(shown) == shown


@given(SCHEMES, HOSTS, PATHS, st.sampled_from(["", "?download=1", "?id=7&format=raw", "?sig=$SIG"]))
def test_an_address_without_secrets_stays_as_it_is(scheme, host, path, query):
    address = f"{scheme}://{host}{path}{query}"
    assert masked(address) == address
    assert not has_secret(f"see {address} and {address}")


@given(st.text())
def test_masking_again_changes_nothing(text):
    assert masked(masked(text)) == masked(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://u@host/x", "https://***@host/x"),
        ("https://u:p/w@host/x", "https://***@host/x"),
        ("https://h/x?BARE", "https://h/x?***"),
        ("https://h/x#access_token=abc", "https://h/x#access_token=***"),
        ("https://h/x?sig=abc: cannot be fetched", "https://h/x?sig=***: cannot be fetched"),
        ("url='https://h/x?sig=abc'", "url='https://h/x?sig=***'"),
        ("a@b.org wrote https://h/x", "a@b.org wrote https://h/x"),
        ("what? a=b", "what? a=b"),
        ("https://$USER:$PASS@host/x", "https://***@host/x"),
    ],
)
def test_texts(text, shown):
    assert masked(text) == shown


def test_the_value_of_a_secret_variable_is_masked_anywhere(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_1234567890")
    monkeypatch.setenv("MY_PASSWORD", "short")
    assert masked("no file at /x/hf_1234567890/y, short") == "no file at /x/$HF_TOKEN/y, short"


def test_variables_are_expanded_to_open_a_file_and_hidden_in_what_it_says(monkeypatch):
    monkeypatch.setenv("WHERE", "a b")
    monkeypatch.delenv("NOT_SET", raising=False)
    address = "https://h/$WHERE/${WHERE}/x"
    assert expanded(address) == "https://h/a b/a b/x"
    assert unexpanded("404 at https://h/a b/a b/x", address) == "404 at https://h/$WHERE/$WHERE/x"
    with pytest.raises(UnsetVariableError, match=r"the variable \$NOT_SET is not set here"):
        expanded("https://h/$NOT_SET/x")


def test_a_traceback_has_no_secret(capsys):
    print_traceback(ValueError("https://u:secret@h/x?sig=secret"))
    text = capsys.readouterr().err
    assert "ValueError: https://***@h/x?sig=***" in text
    assert "secret" not in text
