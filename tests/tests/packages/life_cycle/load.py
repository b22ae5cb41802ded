"""Asks for a page without a pause until a file appears: load.py HOST NAME FILE. Fails when a request does, or when there were none."""

import http.client
import os
import sys

host, name, stop = sys.argv[1:]
served = failed = 0
while not os.path.exists(stop) and served + failed < 1_000_000:
    try:
        connection = http.client.HTTPConnection(host, 80, timeout=60)
        connection.request("GET", "/page", headers={"Host": name})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        good = answer.status == 200
    except OSError as error:
        print(error)
        good = False
    if good:
        served += 1
    else:
        failed += 1
print(f"{served} requests were served, {failed} failed")
sys.exit(failed > 0 or served == 0)
