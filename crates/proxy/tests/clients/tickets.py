"""An MCP server on stdin and stdout with one tool."""

import json
import sys

TOOL = {
    "name": "look_up",
    "description": "Looks up a ticket.",
    "inputSchema": {
        "type": "object",
        "properties": {"number": {"type": "integer"}},
        "required": ["number"],
    },
}


def result(method, params):
    if method == "initialize":
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "tickets", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": [TOOL]}
    if method == "tools/call":
        number = params["arguments"]["number"]
        return {"content": [{"type": "text", "text": f"ticket {number} is open"}]}
    return {}


for line in sys.stdin:
    asked = json.loads(line)
    if "id" in asked:
        told = result(asked["method"], asked.get("params", {}))
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": told}), flush=True)
