#!/usr/bin/env bash
# Prints the path of a Python that has TRex's client (Apache-2.0, from PyPI), and installs it under DIRECTORY before, where it is not there.
set -euo pipefail

directory=${1:?where the environment is to be}
python="$directory/bin/python"
if ! "$python" -c 'import lbr_trex_client' 2>/dev/null; then
    /usr/bin/python3 -m venv "$directory"
    "$python" -m pip install --quiet --disable-pip-version-check --retries 10 lbr-trex-client==3.4.0
fi
echo "$python"
