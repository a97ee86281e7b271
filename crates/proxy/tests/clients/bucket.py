"""An S3 emulator on loopback: `bucket.py PORT`; 0 takes a free one. Prints the port it listens on.

moto handles requests side by side, so that two conditional puts can both pass; here one follows the
other, as with the real service. Buckets live in memory and go with the process."""

import sys

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

application = DomainDispatcherApplication(create_backend_app)
server = make_server("127.0.0.1", int(sys.argv[1]), application, threaded=False)
print(server.server_port, flush=True)
server.serve_forever()
