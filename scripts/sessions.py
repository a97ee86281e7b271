#!/usr/bin/env python3
"""Writes traffic as Codex CLI makes it: sessions of requests that grow, and their streamed answers.

usage: sessions.py OUT SESSIONS TURNS SOURCES

SOURCES is a folder of source trees, 14 or more of them with a README.md: what cargo has fetched will
do (~/.cargo/registry/src/*/). The same arguments over the same sources give the same bytes.

Writes OUT/sNNN/rTTT.req (a request's body), rTTT.resp (the answer's events), meta.json (user and
session). Each request has the whole conversation; answers echo instructions and tools three times;
what the model writes comes back with the next request. One session in five is compacted once, one in
six has an image.
"""

import base64
import json
import os
import random
import sys
import uuid

ENDINGS = (".rs", ".md", ".toml", ".c", ".h", ".py", ".json")
NAMES = ["shell", "apply_patch", "update_plan", "view_image", "exec_command",
         "write_stdin", "web_search", "spawn_agent", "send_input", "wait"]


def dump(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def noise(rng, count):
    """Bytes that no compression makes smaller, as base64."""
    return base64.b64encode(rng.randbytes(count)).decode()


def identifier(rng, prefix):
    return f"{prefix}_{rng.randbytes(25).hex()}"


def files_below(trees):
    """Texts of some hundred bytes to a hundred kilobytes."""
    found = []
    for tree in trees:
        for folder, _, names in os.walk(tree):
            paths = (os.path.join(folder, name) for name in names if name.endswith(ENDINGS))
            found += [path for path in paths
                      if os.path.exists(path) and 500 < os.path.getsize(path) < 120_000]
    return found


class World:
    """What all sessions have in common."""

    def __init__(self, sources, users):
        rng = random.Random(7)
        trees = sorted(entry.path for entry in os.scandir(sources) if entry.is_dir())
        rng.shuffle(trees)
        self.prose = sorted(path for path in files_below(trees) if path.endswith("README.md"))[:14]
        if len(self.prose) < 14:
            sys.exit(f"sessions.py: {sources} has {len(self.prose)} trees with a README.md, 14 are needed")
        texts = [read(path) for path in self.prose]
        opening = "You are Codex, based on GPT-5. You are running as a coding agent in the Codex CLI.\n\n"
        self.instructions = opening + "".join(text[:1500] + "\n" for text in texts)[:16_000]
        self.tools = [self.tool(texts, number) for number in range(14)]
        self.users = [f"dev{number:03d}@example.com" for number in range(users)]
        self.trees = {user: trees[9 * at:9 * at + 9] for at, user in enumerate(self.users)}

    @staticmethod
    def tool(texts, number):
        def parameter(at):
            text = texts[(number + at) % len(texts)][100 + at * 40:220 + at * 40]
            return {"type": ["string", "number", "array"][at % 3], "description": text}
        return {
            "type": "function",
            "name": NAMES[number % 10] + ("" if number < 10 else f"_mcp{number}"),
            "description": texts[number % len(texts)][200:700],
            "strict": False,
            "parameters": {
                "type": "object",
                "properties": {f"p{at}": parameter(at) for at in range(5)},
                "required": ["p0"],
                "additionalProperties": False,
            },
        }


def message(role, text):
    return dump({"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]})


class Answer:
    """The events of one answer, and what of it the next request has."""

    def __init__(self, session, turn):
        self.rng = session.rng
        self.session = session
        self.events = []
        self.output = []
        self.comes_back = []
        world = session.world
        self.response = {
            "id": "resp_" + self.rng.randbytes(25).hex(), "object": "response",
            "created_at": 1_782_000_000 + turn, "status": "in_progress", "model": "gpt-5.3-codex",
            "instructions": world.instructions, "tools": world.tools, "tool_choice": "auto",
            "reasoning": {"effort": "medium", "summary": "detailed"}, "store": False,
            "prompt_cache_key": session.id, "output": [], "usage": None,
        }
        self.event("response.created", response=self.response)
        self.event("response.in_progress", response=self.response)

    def event(self, kind, **fields):
        data = dump({"type": kind, **fields, "sequence_number": len(self.events)})
        self.events.append(f"event: {kind}\ndata: {data}\n\n")

    def deltas(self, kind, pieces, **fields):
        for piece in pieces:
            padding = noise(self.rng, 9)[:self.rng.randint(2, 14)]
            self.event(kind, delta=piece, obfuscation=padding, **fields)

    def item(self, item, began):
        at = len(self.output)
        self.event("response.output_item.added", output_index=at, item=began)
        yield at
        self.event("response.output_item.done", output_index=at, item=item)
        self.output.append(item)

    def reason(self):
        rng = self.rng
        secret, name = noise(rng, rng.randint(600, 3500)), identifier(rng, "rs")
        text = read(rng.choice(self.session.world.prose))[400:400 + rng.randint(200, 700)]
        summary = [{"type": "summary_text", "text": text}]
        item = {"id": name, "type": "reasoning", "encrypted_content": secret, "summary": summary}
        began = {**item, "encrypted_content": noise(rng, 300), "summary": []}
        for at in self.item(item, began):
            words = (word + " " for word in text.split(" "))
            self.deltas("response.reasoning_summary_text.delta", words,
                        item_id=name, output_index=at, summary_index=0)
        self.comes_back.append(dump({"type": "reasoning", "summary": summary, "content": None,
                                     "encrypted_content": secret}))

    def say(self):
        rng, name = self.rng, identifier(self.rng, "msg")
        text = read(rng.choice(self.session.files))[:rng.randint(600, 2500)]
        content = [{"type": "output_text", "annotations": [], "logprobs": [], "text": text}]
        item = {"id": name, "type": "message", "status": "completed", "content": content,
                "role": "assistant"}
        for at in self.item(item, {**item, "status": "in_progress", "content": []}):
            place = {"item_id": name, "output_index": at, "content_index": 0}
            pieces = (text[start:start + 4] for start in range(0, len(text), 4))
            self.deltas("response.output_text.delta", pieces, logprobs=[], **place)
            self.event("response.output_text.done", text=text, logprobs=[], **place)
        self.comes_back.append(dump({"type": "message", "role": "assistant",
                                     "content": [{"type": "output_text", "text": text}]}))

    def patch(self, path, text):
        begin = self.rng.randint(0, max(0, len(text) - 1500))
        lines = text[begin:begin + self.rng.randint(500, 4000)].split("\n")
        changes = "".join(f"-{line}\n+{line.replace('let', 'const')}\n" for line in lines)
        patch = f"*** Begin Patch\n*** Update File: {path[-60:]}\n@@\n{changes}*** End Patch"
        return "custom_tool_call", "input", patch, f"Success. Updated the following files:\nM {path[-60:]}"

    def command(self, path, text):
        rng = self.rng
        words = dump({"cmd": f"sed -n '1,260p' {path[-70:]}", "workdir": "/home/dev/app",
                      "yield_time_ms": 1000})
        length = int(min(len(text), rng.lognormvariate(9.4, 0.8)))
        begin = rng.randint(0, max(0, len(text) - length))
        head = f"Chunk ID: {rng.randbytes(3).hex()}\nWall time: {rng.random():.4f} seconds\n"
        output = f"{head}Process exited with code 0\nOutput:\n{text[begin:begin + length]}"
        return "function_call", "arguments", words, output

    def call(self):
        rng = self.rng
        name, path = "call_" + noise(rng, 18).translate(str.maketrans("/+", "xy")), rng.choice(self.session.files)
        does = self.patch if rng.random() < 0.25 else self.command
        kind, key, words, output = does(path, read(path))
        item_id = identifier(rng, "fc")
        item = {"id": item_id, "type": kind, "status": "completed", key: words, "call_id": name,
                "name": "exec_command"}
        for at in self.item(item, {**item, "status": "in_progress", key: ""}):
            place = {"item_id": item_id, "output_index": at}
            pieces = (words[start:start + 5] for start in range(0, len(words), 5))
            self.deltas(f"response.{kind}_{key}.delta", pieces, **place)
            self.event(f"response.{kind}_{key}.done", **{key: words}, **place)
        self.comes_back.append(dump({"type": kind, "name": "exec_command", key: words, "call_id": name}))
        self.comes_back.append(dump({"type": kind + "_output", "call_id": name, "output": output}))

    def complete(self, asked, cached):
        usage = {"input_tokens": asked, "input_tokens_details": {"cached_tokens": cached},
                 "output_tokens": 700, "output_tokens_details": {"reasoning_tokens": 128},
                 "total_tokens": asked + 700}
        whole = {**self.response, "status": "completed", "output": self.output, "usage": usage}
        self.event("response.completed", response=whole)
        return "".join(self.events)


class Session:
    def __init__(self, world, number, turns):
        self.world = world
        self.number = number
        self.rng = random.Random(1000 + number)
        self.user = world.users[number % len(world.users)]
        self.files = sorted(files_below(world.trees[self.user]))
        self.id = str(uuid.UUID(bytes=self.rng.randbytes(16), version=4))
        self.turns = max(4, int(self.rng.gauss(turns, turns / 4))) if number else turns
        self.input = [
            message("developer", "<permissions instructions>sandbox_mode is workspace-write; network "
                    "restricted; approval on-request</permissions instructions>"),
            message("user", "# AGENTS.md instructions for /home/dev/app\n\n<INSTRUCTIONS>\n"
                    + read(self.files[0])[:3000] + "\n</INSTRUCTIONS>"),
            message("user", "<environment_context>\n  <cwd>/home/dev/app</cwd>\n"
                    "  <shell>bash</shell>\n</environment_context>"),
        ]

    def ask(self, turn):
        """The body of a request; every seventh turn the person says something."""
        rng = self.rng
        if turn % 7 == 0:
            prose = read(rng.choice(self.world.prose))
            content = [{"type": "input_text", "text": "Please " + prose[300:300 + rng.randint(80, 900)]}]
            if self.number % 6 == 3 and turn == 7:
                image = "data:image/png;base64," + noise(rng, 380_000)
                content.append({"type": "input_image", "image_url": image})
            self.input.append(dump({"type": "message", "role": "user", "content": content}))
        if self.number % 5 == 4 and turn == max(20, self.turns * 2 // 3):
            said = [item for item in self.input if '"role":"user"' in item and "input_image" not in item]
            compaction = dump({"type": "compaction", "encrypted_content": noise(rng, 9000)})
            self.input = self.input[:1] + said[:8] + [compaction]
        turn_id = str(uuid.UUID(bytes=rng.randbytes(16)))
        metadata = dump({"x-codex-turn-metadata": dump({"turn_id": turn_id, "t": turn})})
        return (
            f'{{"model":"gpt-5.3-codex","instructions":{dump(self.world.instructions)}'
            f',"input":[{",".join(self.input)}],"tools":{dump(self.world.tools)}'
            ',"tool_choice":"auto","parallel_tool_calls":true'
            ',"reasoning":{"effort":"medium","summary":"auto"},"store":false,"stream":true'
            ',"include":["reasoning.encrypted_content"]'
            f',"prompt_cache_key":"{self.id}","client_metadata":{metadata}}}'
        )

    def write(self, folder):
        os.makedirs(folder, exist_ok=True)
        asked = 0
        for turn in range(self.turns):
            body, cached = self.ask(turn), asked
            asked = len(body) // 4
            answer = Answer(self, turn)
            answer.reason()
            if turn % 7 == 6:
                answer.say()
            else:
                for _ in range(self.rng.choice([1, 1, 2])):
                    answer.call()
            self.save(folder, f"r{turn:03d}.req", body)
            self.save(folder, f"r{turn:03d}.resp", answer.complete(asked, cached))
            self.input += answer.comes_back
        self.save(folder, "meta.json", dump({"user": self.user, "session": self.id}))

    @staticmethod
    def save(folder, name, text):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text)


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    out, sessions, turns = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    world = World(sys.argv[4], max(1, sessions * 2 // 3))
    for number in range(sessions):
        Session(world, number, turns).write(os.path.join(out, f"s{number:03d}"))


main()
