"""Reads the prompts and resources of the full set and calls its tools, with the Python SDK's own client.

Arguments: the program under test, and how to settle the revision: "legacy", "auto" or a date.
What the client saw goes to standard output as JSON; the client itself checks every structured
answer against the tool's output schema.
"""

import asyncio
import json
import sys

from mcp import Client, StdioServerParameters, stdio_client


async def main(program: str, mode: str) -> None:
    server = StdioServerParameters(command=program, args=["mcp", "--tools", "full"])
    async with Client(stdio_client(server), mode=mode) as client:
        text = f"The full client in mode {mode} likes rooibos"
        stored = await client.call_tool("memory_store", {"content": text, "tags": "tea"})
        content_hash = stored.structured_content["content_hash"]
        got = await client.call_tool("memory_get", {"content_hash": content_hash})
        turns = [{"role": "user", "content": f"in mode {mode}"}]
        session = await client.call_tool("memory_store_session", {"turns": turns})
        stats = await client.call_tool("memory_stats", {})
        cleanup = await client.call_tool("memory_cleanup", {})
        tools = await client.list_tools()
        prompts = await client.list_prompts()
        review = await client.get_prompt("memory_review", {"time_period": "last 2 days"})
        resources = await client.list_resources()
        templates = await client.list_resource_templates()
        read = {}
        for entry in resources.resources:
            contents = (await client.read_resource(str(entry.uri))).contents
            read[str(entry.uri)] = [contents[0].mime_type, contents[0].text]
        try:
            await client.read_resource("memory://nothing")
            unknown = None
        except Exception as error:
            unknown = str(error)
        seen = {
            "got": got.structured_content,
            "session": session.structured_content,
            "stats": stats.structured_content,
            "cleanup": cleanup.content[0].text,
            "tools": [tool.name for tool in tools.tools],
            "prompts": [prompt.name for prompt in prompts.prompts],
            "needed": [
                [argument.name for argument in prompt.arguments if argument.required]
                for prompt in prompts.prompts
            ],
            "review": review.messages[0].content.text,
            "templates": [template.uri_template for template in templates.resource_templates],
            "read": read,
            "unknown": unknown,
        }
    print(json.dumps(seen))


asyncio.run(main(*sys.argv[1:]))
