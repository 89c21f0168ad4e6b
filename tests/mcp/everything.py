"""The names that the public conformance suite asks for, added to our own server, and a runner.

    python -m tests.mcp.everything PORT|stdio [--sessions] [--bare]

Everything else about the server is the product's: its factory, its transport, its checks. `--bare`
adds nothing.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import tempfile
from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer, UserMessage
from mcp.server.mcpserver.prompts import Prompt
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.shared.exceptions import MCPError
from mcp_types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    AudioContent,
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    EmbeddedResource,
    EmptyResult,
    ImageContent,
    InputRequest,
    InputRequiredResult,
    JSONRPCMessage,
    ListRootsRequest,
    ListRootsResult,
    SamplingMessage,
    SetLevelRequestParams,
    SubscribeRequestParams,
    TextContent,
    TextResourceContents,
    UnsubscribeRequestParams,
)
from pydantic import Field, create_model

Ctx = Context[Any, Any]

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
    "AAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
)
SOUND = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="
NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
OK = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}


class RememberedEvents(EventStore):
    """Keeps every event; good for one test run."""

    def __init__(self) -> None:
        self.events: list[tuple[str, JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        self.events.append((stream_id, message))
        return str(len(self.events) - 1)

    async def replay_events_after(
        self, last_event_id: str, send_callback: EventCallback
    ) -> str | None:
        if not last_event_id.isdigit() or int(last_event_id) >= len(self.events):
            return None
        stream = self.events[int(last_event_id)][0]
        for number in range(int(last_event_id) + 1, len(self.events)):
            of, message = self.events[number]
            if of == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


def text_resource(uri: str, text: str, mime_type: str = "text/plain") -> EmbeddedResource:
    contents = TextResourceContents(uri=uri, mime_type=mime_type, text=text)
    return EmbeddedResource(type="resource", resource=contents)


def image() -> ImageContent:
    return ImageContent(type="image", data=PIXEL, mime_type="image/png")


def sampling(text: str) -> CreateMessageRequest:
    message = SamplingMessage(role="user", content=TextContent(type="text", text=text))
    return CreateMessageRequest(
        params=CreateMessageRequestParams(messages=[message], max_tokens=50)
    )


def form(message: str, schema: dict[str, Any]) -> ElicitRequest:
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def filled(ctx: Ctx, name: str, key: str) -> Any:
    """What the user put into a field of a form that was sent, or None."""
    answer = (ctx.input_responses or {}).get(name)
    return answer.content.get(key) if isinstance(answer, ElicitResult) and answer.content else None


def add_contents(server: MCPServer[Any]) -> None:
    tool = server.tool

    @tool()
    def test_simple_text() -> str:
        """Return text."""
        return "This is a simple text response for testing."

    @tool()
    def test_image_content() -> list[ImageContent]:
        """Return an image."""
        return [image()]

    @tool()
    def test_audio_content() -> list[AudioContent]:
        """Return sound."""
        return [AudioContent(type="audio", data=SOUND, mime_type="audio/wav")]

    @tool()
    def test_embedded_resource() -> list[EmbeddedResource]:
        """Return a resource."""
        text = "This is an embedded resource content."
        return [text_resource("test://embedded-resource", text)]

    @tool()
    def test_multiple_content_types() -> list[TextContent | ImageContent | EmbeddedResource]:
        """Return several kinds."""
        return [
            TextContent(type="text", text="Multiple content types test:"),
            image(),
            text_resource(
                "test://mixed-content-resource",
                '{"test": "data", "value": 123}',
                "application/json",
            ),
        ]

    @tool()
    def test_error_handling() -> str:
        """Fail."""
        raise RuntimeError("This tool intentionally returns an error for testing")

    @tool()
    def test_x_mcp_header(
        region: Annotated[
            str, Field(description="Region", json_schema_extra={"x-mcp-header": "Region"})
        ] = "<none>",
    ) -> str:
        """Take an argument that is mirrored into a header."""
        return f"region={region}"


def add_live_tools(server: MCPServer[Any]) -> None:
    tool = server.tool

    @tool()
    async def test_tool_with_logging(ctx: Ctx) -> str:
        """Log three times."""
        for said in ("started", "processing data", "completed"):
            await ctx.session.send_log_message(
                level="info", data=f"Tool {said}", related_request_id=ctx.request_id
            )
            await asyncio.sleep(0.05)
        return "Tool with logging executed successfully"

    @tool()
    async def test_tool_with_progress(ctx: Ctx) -> str:
        """Report progress three times."""
        for done in (0, 50, 100):
            await ctx.report_progress(done, 100, f"Completed step {done} of 100")
            await asyncio.sleep(0.05)
        return "done"

    @tool()
    async def test_sampling(prompt: str, ctx: Ctx) -> str:
        """Ask the client's model."""
        answer = await ctx.session.create_message(
            messages=[SamplingMessage(role="user", content=TextContent(type="text", text=prompt))],
            max_tokens=100,
            related_request_id=ctx.request_id,
        )
        said = answer.content.text if isinstance(answer.content, TextContent) else "?"
        return f"LLM response: {said}"

    @tool()
    async def test_reconnection(ctx: Ctx) -> str:
        """Close the stream in the middle."""
        await ctx.close_sse_stream()
        await asyncio.sleep(0.2)
        return "Reconnection test completed"

    @tool()
    async def test_missing_capability(ctx: Ctx) -> str:
        """Need a capability of the client."""
        declared = ctx.client_capabilities
        if declared is None or declared.sampling is None:
            raise MCPError(
                code=MISSING_REQUIRED_CLIENT_CAPABILITY,
                message="This tool requires the client 'sampling' capability",
                data={"requiredCapabilities": {"sampling": {}}},
            )
        return "sampling is there"

    @tool()
    async def test_trigger_tool_change(ctx: Ctx) -> str:
        """Change the list of tools."""
        server.add_tool(lambda: "dynamic", name="test_dynamic_tool", description="dynamic")
        server.remove_tool("test_dynamic_tool")
        await ctx.notify_tools_changed()
        return "tool list changed"

    @tool()
    async def test_trigger_prompt_change(ctx: Ctx) -> str:
        """Change the list of prompts."""

        def dynamic() -> str:
            return "dynamic"

        server.add_prompt(Prompt.from_function(dynamic, name="test_dynamic_prompt"))
        server.remove_prompt("test_dynamic_prompt")
        await ctx.notify_prompts_changed()
        return "prompt list changed"


def add_elicitation(server: MCPServer[Any]) -> None:
    answer = create_model("Answer", response=(str, Field(description="User's response")))
    defaults = create_model(
        "Defaults",
        name=(str, Field(default="John Doe")),
        age=(int, Field(default=30)),
        score=(float, Field(default=95.5)),
        status=(
            str,
            Field(default="active", json_schema_extra={"enum": ["active", "inactive", "pending"]}),
        ),
        verified=(bool, Field(default=True)),
    )
    titled = [{"const": word, "title": word.title()} for word in ("low", "medium", "high")]
    topics = [{"const": word, "title": word.title()} for word in ("feature", "bug", "docs")]
    fields: dict[str, Any] = {
        "untitledSingle": (str, {"enum": ["active", "inactive", "pending"]}),
        "titledSingle": (str, {"oneOf": titled}),
        "untitledMulti": (list[str], {"items": {"type": "string", "enum": ["read", "write"]}}),
        "titledMulti": (list[str], {"items": {"anyOf": topics}}),
        "legacyEnum": (
            str,
            {"enum": ["small", "large"], "enumNames": ["Small Size", "Large Size"]},
        ),
    }
    chosen: dict[str, Any] = {
        name: (kind, Field(json_schema_extra=more)) for name, (kind, more) in fields.items()
    }
    enums = create_model("Enums", **chosen)

    async def asked(ctx: Ctx, message: str, schema: Any) -> str:
        result = await ctx.elicit(message=message, schema=schema)
        content = result.data.model_dump_json() if result.action == "accept" else "{}"
        return f"action={result.action}, content={content}"

    @server.tool()
    async def test_elicitation(message: str, ctx: Ctx) -> str:
        """Ask the user."""
        return f"User response: {await asked(ctx, message, answer)}"

    @server.tool()
    async def test_elicitation_sep1034_defaults(ctx: Ctx) -> str:
        """Ask with defaults."""
        return f"Elicitation result: {await asked(ctx, 'Who are you?', defaults)}"

    @server.tool()
    async def test_elicitation_sep1330_enums(ctx: Ctx) -> str:
        """Ask with choices."""
        return f"Elicitation completed: {await asked(ctx, 'Choose', enums)}"


def add_multi_round_tools(server: MCPServer[Any]) -> None:
    tool = server.tool

    @tool()
    async def test_input_required_result_elicitation(ctx: Ctx) -> str | InputRequiredResult:
        """One form."""
        if (name := filled(ctx, "user_name", "name")) is not None:
            return f"Hello, {name}!"
        return InputRequiredResult(input_requests={"user_name": form("Your name?", NAME)})

    @tool()
    async def test_input_required_result_sampling(ctx: Ctx) -> str | InputRequiredResult:
        """One question to the client's model."""
        answer = (ctx.input_responses or {}).get("capital_question")
        if isinstance(answer, CreateMessageResult) and isinstance(answer.content, TextContent):
            return f"Model said: {answer.content.text}"
        ask = sampling("What is the capital of France?")
        return InputRequiredResult(input_requests={"capital_question": ask})

    @tool()
    async def test_input_required_result_list_roots(ctx: Ctx) -> str | InputRequiredResult:
        """The client's roots."""
        answer = (ctx.input_responses or {}).get("client_roots")
        if isinstance(answer, ListRootsResult):
            return f"Client exposed {len(answer.roots)} root(s)."
        return InputRequiredResult(input_requests={"client_roots": ListRootsRequest()})

    @tool()
    async def test_input_required_result_request_state(ctx: Ctx) -> str | InputRequiredResult:
        """State that comes back."""
        if "confirm" in (ctx.input_responses or {}) and ctx.request_state == "nonce":
            return "state-ok: confirmation received"
        return InputRequiredResult(
            input_requests={"confirm": form("Please confirm", OK)}, request_state="nonce"
        )

    @tool()
    async def test_input_required_result_multiple_inputs(ctx: Ctx) -> str | InputRequiredResult:
        """Three kinds at once."""
        requests: dict[str, InputRequest] = {
            "user_name": form("Your name?", NAME),
            "greeting": sampling("Generate a greeting"),
            "client_roots": ListRootsRequest(),
        }
        if requests.keys() <= (ctx.input_responses or {}).keys():
            return "All inputs received."
        return InputRequiredResult(input_requests=requests, request_state="several")

    @tool()
    async def test_input_required_result_multi_round(ctx: Ctx) -> str | InputRequiredResult:
        """Three rounds."""
        state = json.loads(ctx.request_state or '{"round": 0}')
        if state["round"] == 2 and (color := filled(ctx, "step2", "color")) is not None:
            return f"{state['name']} likes {color}."
        if state["round"] == 1 and (name := filled(ctx, "step1", "name")) is not None:
            schema = {"type": "object", "properties": {"color": {"type": "string"}}}
            return InputRequiredResult(
                input_requests={"step2": form("Step 2: Your favourite color?", schema)},
                request_state=json.dumps({"round": 2, "name": name}),
            )
        return InputRequiredResult(
            input_requests={"step1": form("Step 1: Your name?", NAME)},
            request_state=json.dumps({"round": 1}),
        )

    @tool()
    async def test_input_required_result_tampered_state(ctx: Ctx) -> str | InputRequiredResult:
        """State that the client may not change."""
        if ctx.request_state is not None:
            return f"state-ok: {ctx.request_state}"
        return InputRequiredResult(
            input_requests={"confirm": form("Please confirm", OK)}, request_state="round-1"
        )

    @tool()
    async def test_input_required_result_capabilities(ctx: Ctx) -> InputRequiredResult:
        """Only what the client can do."""
        can = ctx.client_capabilities
        requests: dict[str, InputRequest] = {}
        if can is None or can.sampling is not None:
            requests["sample"] = sampling("Say hello")
        if can is None or can.elicitation is not None:
            requests["ask"] = form("Your name?", NAME)
        return InputRequiredResult(input_requests=requests, request_state="gated")


def add_schema_tool(server: MCPServer[Any]) -> None:
    @server.tool()
    def json_schema_2020_12_tool() -> str:
        """Show a schema with everything in it."""
        return "json_schema_2020_12_tool"

    server._tool_manager._tools["json_schema_2020_12_tool"].parameters = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
            }
        },
        "properties": {
            "name": {"type": "string"},
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"},
            "email": {"type": "string"},
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": False,
    }


def add_resources_and_prompts(server: MCPServer[Any]) -> None:
    @server.resource("test://static-text")
    def static_text() -> str:
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png")
    def static_binary() -> bytes:
        return base64.b64decode(PIXEL)

    @server.resource("test://template/{id}/data")
    def template(id: str) -> str:  # noqa: A002
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})

    @server.resource("test://watched-resource")
    def watched() -> str:
        return "Watched resource content"

    @server.prompt()
    def test_simple_prompt() -> str:
        """Take no argument."""
        return "This is a simple prompt for testing."

    @server.prompt()
    def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
        """Take two arguments."""
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @server.prompt()
    def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:  # noqa: N803
        """Hold a resource."""
        return [
            UserMessage(text_resource(resourceUri, "Embedded resource content for testing.")),
            UserMessage("Please process the embedded resource above."),
        ]

    @server.prompt()
    def test_prompt_with_image() -> list[UserMessage]:
        """Hold an image."""
        return [UserMessage(image()), UserMessage("Please analyze the image above.")]

    @server.prompt()
    async def test_input_required_result_prompt(ctx: Ctx) -> str | InputRequiredResult:
        """Ask first."""
        if (given := filled(ctx, "user_context", "context")) is not None:
            return f"Use the following context: {given}"
        schema = {"type": "object", "properties": {"context": {"type": "string"}}}
        return InputRequiredResult(input_requests={"user_context": form("Which context?", schema)})


def add_legacy_handlers(server: MCPServer[Any]) -> None:
    async def accept(_: object, __: object) -> EmptyResult:
        return EmptyResult()

    add = server._lowlevel_server.add_request_handler
    add("logging/setLevel", SetLevelRequestParams, accept)
    add("resources/subscribe", SubscribeRequestParams, accept)
    add("resources/unsubscribe", UnsubscribeRequestParams, accept)


def add_everything(server: MCPServer[Any]) -> None:
    """Add all that the suite asks for by name."""
    add_contents(server)
    add_live_tools(server)
    add_elicitation(server)
    add_multi_round_tools(server)
    add_schema_tool(server)
    add_resources_and_prompts(server)
    add_legacy_handlers(server)


def main(port: int | None, *, sessions: bool, bare: bool) -> None:
    """Serve on a port of this machine until killed, or on standard input and output."""
    from tests.mcp.fakes import fake_service
    from voicerag_mcp.http import http_app
    from voicerag_mcp.listening import serve
    from voicerag_mcp.server import build_server
    from voicerag_mcp.settings import load_server_settings

    settings = load_server_settings(
        port=port,
        sessions=sessions,
        calls_per_minute=100_000,
        allowed_paths=(tempfile.gettempdir(),),
    )
    with fake_service(settings) as service:
        server = build_server(service)
        if not bare:
            add_everything(server)
        if port is None:
            server.run("stdio")
            return
        events = RememberedEvents() if sessions else None
        asyncio.run(serve(http_app(service, server, event_store=events), settings))


if __name__ == "__main__":
    main(
        None if sys.argv[1] == "stdio" else int(sys.argv[1]),
        sessions="--sessions" in sys.argv,
        bare="--bare" in sys.argv or sys.argv[1] == "stdio",
    )
