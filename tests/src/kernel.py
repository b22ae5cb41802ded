"""Runs a command as on a kernel that lacks or refuses some system calls.

usage: python3 kernel.py CALL[:FLAGS]=ERROR… -- COMMAND…

Each CALL fails with ERROR for the command and for all that it starts; with FLAGS, only where its first argument has one of
these bits, or is this number for a call that takes a kind (socket, prctl). A filter of seccomp does it, which outlives exec.
"""

import ctypes
import errno
import os
import platform
import struct
import sys

# Numbers on x86-64 and on 64-bit ARM.
CALLS = {
    "clone": (56, 220),
    "clone3": (435, 435),
    "close_range": (436, 436),
    "landlock_create_ruleset": (444, 444),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "openat2": (437, 437),
    "pidfd_open": (434, 434),
    "prctl": (157, 167),
    "seccomp": (317, 277),
    "setgroups": (116, 159),
    "socket": (41, 198),
    "unshare": (272, 97),
}
BY_KIND = ("socket", "prctl")
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
LOAD, EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
NUMBER, FIRST_ARGUMENT = 0, 16


def rule(text):
    """Returns the instructions of one rule; what it does not match goes on behind them."""
    call, error = text.split("=")
    call, _, flags = call.partition(":")
    number = CALLS[call][platform.machine() == "aarch64"]
    refuse = (RETURN, 0, 0, ERRNO | getattr(errno, error))
    if not flags:
        return [(LOAD, 0, 0, NUMBER), (EQUAL, 0, 1, number), refuse]
    question = EQUAL if call in BY_KIND else ANY_BIT
    return [
        (LOAD, 0, 0, NUMBER),
        (EQUAL, 0, 3, number),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (question, 0, 1, int(flags, 0)),
        refuse,
    ]


def main():
    split = sys.argv.index("--")
    rules, command = sys.argv[1:split], sys.argv[split + 1 :]
    program = [one for text in rules for one in rule(text)] + [(RETURN, 0, 0, ALLOW)]
    code = b"".join(struct.pack("HBBI", *one) for one in program)
    buffer = ctypes.create_string_buffer(code)
    block = ctypes.create_string_buffer(struct.pack("HP", len(program), ctypes.addressof(buffer)))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    install = (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(block), 0, 0)
    # Root needs no promise never to gain rights, with which no set-uid program would work.
    if prctl(*install) != 0:
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if prctl(*install) != 0:
            sys.exit("kernel.py: cannot filter: " + os.strerror(ctypes.get_errno()))
    os.execvp(command[0], command)


main()
