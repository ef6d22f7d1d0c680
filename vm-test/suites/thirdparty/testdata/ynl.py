# SPDX-License-Identifier: MIT
#
# Runs ynl's command line many times: most of what it takes on an emulated
# processor is to begin. Reads a line of JSON for each, the arguments; runs them
# in a process of their own, as the shell would, and writes a line with what that
# process has written and its exit status.
import importlib
import json
import os
import sys
import tempfile

TOOL = "/usr/lib/ynl/pyynl/cli.py"

sys.path.insert(0, os.path.dirname(TOOL))
cli = importlib.import_module("cli")

for line in sys.stdin:
    args = json.loads(line)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            sys.argv = [TOOL] + args
            cli.main()
            sys.exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        out.seek(0)
        err.seek(0)
        print(json.dumps({"stdout": out.read().decode(), "stderr": err.read().decode(), "code": code}), flush=True)
