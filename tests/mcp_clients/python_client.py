"""Lists the tools, stores a memory and finds it, with the Python SDK's own client.

Arguments: the program under test, and how to settle the revision: "legacy", "auto" or a date.
What the client saw goes to standard output as JSON; the client itself checks every structured
answer against the tool's output schema.
"""

import asyncio
import json
import sys

from mcp import Client, StdioServerParameters, stdio_client


async def main(program: str, mode: str) -> None:
    server = StdioServerParameters(command=program, args=["mcp"])
    async with Client(stdio_client(server), mode=mode) as client:
        listed = await client.list_tools()
        text = f"The client in mode {mode} likes oolong"
        stored = await client.call_tool("memory_store", {"content": text, "tags": "tea, sdk"})
        found = await client.call_tool("memory_search", {"query": "oolong", "tags": ["sdk"]})
        refused = await client.call_tool("memory_search", {"query": "x", "entity": "y"})
        together = await asyncio.gather(
            *(client.call_tool("memory_store", {"content": f"{mode} {n}"}) for n in range(20))
        )
        seen = {
            "revision": client.protocol_version,
            "tools": [tool.name for tool in listed.tools],
            "stored": stored.structured_content,
            "found": found.structured_content,
            "text": found.content[0].text,
            "refused": [refused.is_error, refused.content[0].text],
            "together": [answer.is_error for answer in together],
        }
    print(json.dumps(seen))


asyncio.run(main(*sys.argv[1:]))
