"""Runs a script of sh and kills it, with all that it started, when its N-th command begins: kill.py N SCRIPT ARGS…

Prints the number of commands that began. With N = 0 the script runs to its end, which must be a good one.
"""

import os
import signal
import subprocess
import sys

number, script = int(sys.argv[1]), sys.argv[2:]
shell = subprocess.Popen(
    ["sh", "-x", *script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
)
begun, said = 0, []
for line in shell.stdout:
    said.append(line)
    begun += line.startswith(b"+ ")
    if begun == number:
        # all of its session: `timeout` has a process group of its own
        subprocess.run(["pkill", "-KILL", "-s", str(shell.pid)])
        break
shell.stdout.close()
if shell.wait() != (-signal.SIGKILL if number and begun == number else 0):
    sys.exit(b"".join(said[-20:]).decode(errors="replace") + f"kill.py: {script} ended with {shell.returncode}")
print(begun)
