"""Everything is in pyproject.toml but this: `dashboards/` is installed as `ablate.dashboards`."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["ablate", "ablate.*"]), "ablate.dashboards"],
    package_dir={"ablate.dashboards": "dashboards"},
)
