"""An S3 emulator on loopback: `bucket.py PORT`; 0 takes a free one. Prints the port it listens on.

moto handles requests side by side, so that two conditional puts can both pass; here one follows the
other, as with the real service. Buckets live in memory and go with the process.

A bucket with Object Lock takes an upload with Content-MD5 or any x-amz-checksum header (the service's
own words: "Content-MD5 OR x-amz-checksum- HTTP header is required"); moto asks for a third one. And it
compares a checksum with what arrived, which moto does not."""

import base64
import hashlib
import io
import sys

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

moto = DomainDispatcherApplication(create_backend_app)


def application(environ, start_response):
    promised = environ.get("HTTP_X_AMZ_CHECKSUM_SHA256")
    if environ["REQUEST_METHOD"] == "PUT" and promised:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if base64.b64encode(hashlib.sha256(body).digest()).decode() != promised:
            start_response("400 Bad Request", [("Content-Type", "application/xml")])
            return [b"<Error><Code>BadDigest</Code></Error>"]
        environ["wsgi.input"] = io.BytesIO(body)
        environ["HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM"] = "SHA256"
    return moto(environ, start_response)


server = make_server("127.0.0.1", int(sys.argv[1]), application, threaded=False)
print(server.server_port, flush=True)
server.serve_forever()
