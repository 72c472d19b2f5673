"""Whether this account is logged in to Weights & Biases, seen without the SDK and without the network.

Only where a key was found is kept, never the key.
"""

from __future__ import annotations

import configparser
import netrc
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

CLOUD = "https://api.wandb.ai"


@dataclass(frozen=True)
class Login:
    """The W&B server that runs would go to and where a key for it was found (None: not logged in)."""

    server: str
    source: str | None


def find_login(environ: Mapping[str, str], home: Path) -> Login:
    """Look where the SDK looks: the environment's key or token file, then the server's netrc entry."""
    server = environ.get("WANDB_BASE_URL") or _configured(environ, home) or CLOUD
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        if environ.get(name):
            return Login(server, name)
    path = Path(environ["NETRC"]).expanduser() if environ.get("NETRC") else _netrc(home)
    return Login(server, str(path) if _has_entry(path, urlsplit(server).netloc) else None)


def login() -> Login:
    """`find_login` for this process."""
    return find_login(os.environ, Path(os.path.expanduser("~")))


def _configured(environ: Mapping[str, str], home: Path) -> str | None:
    """The server that `wandb login --host` wrote to the settings file, if any."""
    folder = Path(environ.get("WANDB_CONFIG_DIR") or home / ".config" / "wandb")
    settings = configparser.ConfigParser(interpolation=None)
    try:
        settings.read(folder / "settings")
    except (configparser.Error, OSError, UnicodeDecodeError):
        return None
    return settings.get("default", "base_url", fallback=None)


def _netrc(home: Path) -> Path:
    found = [path for path in (home / ".netrc", home / "_netrc") if path.exists()]
    return found[0] if found else home / ".netrc"


def _has_entry(path: Path, host: str) -> bool:
    try:
        entry = netrc.netrc(str(path)).authenticators(host)
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return False
    return bool(entry and entry[2])
