"""The three agents at work, with the SDKs as any program uses them; spans for what no SDK knows of."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import anthropic
import openai
from openai.types.chat import ChatCompletionMessageParam
from opentelemetry.trace import Span, Tracer

from agent_tracer.server.demo import story
from agent_tracer.server.demo.story import Agent, Trouble

PLANNER_MODEL: Final = "gpt-5-mini"
RESEARCHER_MODEL: Final = "gpt-4.1-mini"
EMBEDDING_MODEL: Final = "text-embedding-3-small"
WRITER_MODEL: Final = "claude-sonnet-5"
PUBLISHER_MODEL: Final = "claude-haiku-4-5"

_DOCUMENTS_KEPT: Final = 3
_ANSWER_TOKENS_MAX: Final = 1024


class ToolTimeoutError(TimeoutError):
    """A tool did not answer in time, on every attempt."""


@dataclass(frozen=True, slots=True)
class Crew:
    """What the agents of one run share."""

    tracer: Tracer
    openai: openai.OpenAI
    anthropic: anthropic.Anthropic
    workflow: str
    session_id: str

    def plan(self, release: str) -> str:
        """The planner: one call with structured output and reasoning."""
        with self._agent(story.PLANNER, f"Plan the notes of release {release}.") as (span, question):
            completion = self.openai.chat.completions.create(
                model=PLANNER_MODEL,
                messages=_chat(story.PLANNER, question),
                reasoning_effort="medium",
                prompt_cache_key=story.PLANNER.id,
                response_format={
                    "type": "json_schema",
                    "json_schema": {"name": "plan", "strict": True, "schema": dict(story.PLAN_SCHEMA)},
                },
            )
            return _answered(span, completion.choices[0].message.content or "")

    def research(self, release: str, plan: str, trouble: Trouble) -> str:
        """The researcher: retrieval by embeddings, then a tool for the model. Raises ToolTimeoutError."""
        with self._agent(story.RESEARCHER, f"What changed in release {release}? Plan: {plan}") as (
            span,
            question,
        ):
            found = self._retrieve(question)
            messages = _chat(story.RESEARCHER, f"{question} Known: {json.dumps(found)}")
            asked = self.openai.chat.completions.create(
                model=RESEARCHER_MODEL, messages=messages, tools=[_openai_tool(story.CHANGELOG_TOOL)]
            ).choices[0]
            for call in asked.message.tool_calls or []:
                if call.type != "function":
                    continue
                result = self._search(call.id, call.function.arguments, trouble)
                messages += _tool_turn(call.id, call.function.name, call.function.arguments, result)
            answer = self.openai.chat.completions.create(model=RESEARCHER_MODEL, messages=messages)
            return _answered(span, answer.choices[0].message.content or "")

    def write(self, release: str, findings: str) -> str:
        """The writer: a streamed answer with a cached prompt, then a tool call that publishes it."""
        with self._agent(story.WRITER, f"Write the notes of release {release}: {findings}") as (
            span,
            question,
        ):
            with self.anthropic.messages.stream(
                model=WRITER_MODEL,
                max_tokens=_ANSWER_TOKENS_MAX,
                system=[
                    {
                        "type": "text",
                        "text": story.WRITER.instructions,
                        "cache_control": {"type": "ephemeral"},
                    }
                ],
                messages=[
                    {"role": "user", "content": "Here is the house style: no jargon, no superlatives."},
                    {"role": "assistant", "content": "Understood."},
                    {
                        "role": "user",
                        "content": [{"type": "text", "text": question, "cache_control": {"type": "ephemeral"}}],
                    },
                ],
            ) as stream:
                notes = stream.get_final_text()
            self._publish(notes)
            return _answered(span, notes)

    @contextmanager
    def _agent(self, agent: Agent, question: str) -> Iterator[tuple[Span, str]]:
        attributes = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.id": agent.id,
            "gen_ai.agent.name": agent.name,
            "gen_ai.agent.type": agent.type,
            "gen_ai.agent.version": agent.version,
            "gen_ai.workflow.name": self.workflow,
            "gen_ai.conversation.id": self.session_id,
            "session.id": self.session_id,
            "task.type": agent.task_type,
            "gen_ai.input.messages": _messages("user", question),
        }
        with self.tracer.start_as_current_span(f"invoke_agent {agent.name}", attributes=attributes) as span:
            yield span, question

    def _retrieve(self, question: str) -> list[str]:
        attributes = {
            "gen_ai.operation.name": "retrieval",
            "gen_ai.data_source.id": "changelog",
            "gen_ai.retrieval.query.text": question,
        }
        with self.tracer.start_as_current_span("retrieval changelog", attributes=attributes) as span:
            texts = [question, *story.CHANGES]
            query, *vectors = [
                item.embedding for item in self.openai.embeddings.create(model=EMBEDDING_MODEL, input=texts).data
            ]
            scores = [sum(a * b for a, b in zip(query, vector, strict=True)) for vector in vectors]
            best = sorted(range(len(scores)), key=lambda i: -scores[i])[:_DOCUMENTS_KEPT]
            documents = [{"id": f"change-{i}", "score": round(scores[i], 4)} for i in best]
            span.set_attribute("gen_ai.retrieval.documents", json.dumps(documents))
            return [story.CHANGES[i] for i in best]

    def _search(self, call_id: str, arguments: str, trouble: Trouble) -> str:
        """Tries as often as the trouble has attempts."""
        *first, last = trouble.value
        for needed_seconds in first:
            try:
                return self._search_once(call_id, arguments, needed_seconds)
            except ToolTimeoutError:
                continue
        return self._search_once(call_id, arguments, last)

    def _search_once(self, call_id: str, arguments: str, needed_seconds: float) -> str:
        with self._tool(story.CHANGELOG_TOOL, call_id, arguments) as span:
            time.sleep(min(needed_seconds, story.TOOL_TIMEOUT_SECONDS))
            if needed_seconds > story.TOOL_TIMEOUT_SECONDS:
                span.set_attribute("error.type", "timeout")
                message = f"{story.CHANGELOG_TOOL} gave no answer within {story.TOOL_TIMEOUT_SECONDS} s"
                raise ToolTimeoutError(message)
            result = story.search_changelog(json.loads(arguments)["query"])
            span.set_attribute("gen_ai.tool.call.result", result)
            return result

    def _publish(self, notes: str) -> None:
        name = story.PUBLISH_TOOL
        description, schema = story.TOOL_SCHEMAS[name]
        message = self.anthropic.messages.create(
            model=PUBLISHER_MODEL,
            max_tokens=_ANSWER_TOKENS_MAX,
            tools=[{"name": name, "description": description, "input_schema": dict(schema)}],
            tool_choice={"type": "tool", "name": name},
            messages=[{"role": "user", "content": f"Publish these notes: {notes}"}],
        )
        for block in message.content:
            if block.type == "tool_use":
                with self._tool(name, block.id, json.dumps(block.input)) as span:
                    span.set_attribute("gen_ai.tool.call.result", json.dumps({"published": True}))

    @contextmanager
    def _tool(self, name: str, call_id: str, arguments: str) -> Iterator[Span]:
        attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": name,
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.id": call_id,
            "gen_ai.tool.call.arguments": arguments,
        }
        with self.tracer.start_as_current_span(f"execute_tool {name}", attributes=attributes) as span:
            yield span


def _chat(agent: Agent, question: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "system", "content": agent.instructions}, {"role": "user", "content": question}]


def _tool_turn(call_id: str, name: str, arguments: str, result: str) -> list[ChatCompletionMessageParam]:
    """What the model asked of a tool, and what the tool answered."""
    return [
        {
            "role": "assistant",
            "tool_calls": [{"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}],
        },
        {"role": "tool", "tool_call_id": call_id, "content": result},
    ]


def _openai_tool(name: str) -> Any:  # noqa: ANN401 - the SDK's tool type differs by version
    description, parameters = story.TOOL_SCHEMAS[name]
    function: Mapping[str, Any] = {"name": name, "description": description, "parameters": dict(parameters)}
    return {"type": "function", "function": function}


def _messages(role: str, text: str) -> str:
    """One message in the JSON form of `gen_ai.input.messages` and `gen_ai.output.messages`."""
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}])


def _answered(span: Span, answer: str) -> str:
    span.set_attribute("gen_ai.output.messages", _messages("assistant", answer))
    return answer
