"use strict";
// The conversation so far, as the server is sent it.
const said = [];
const form = document.getElementById("ask"), conversation = document.getElementById("conversation");
const field = (id) => document.getElementById(id).value;

function add(parent, tag, className, text) {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  parent.append(element);
  return element;
}

function shade(element, probability) {
  const colour = probability >= 0.5 ? "--hallucinated" : "--faithful";
  element.style.background = `rgba(var(${colour}), ${(Math.abs(2 * probability - 1) * 0.6).toFixed(2)})`;
}

function neuronList(parent, neurons) {
  const list = add(parent, "span", "neurons", "");
  for (const { layer, neuron, contribution } of neurons) {
    const sign = contribution < 0 ? "−" : "+";
    add(list, "span", "", `layer ${layer}, neuron ${PLACES[layer][neuron]}: ${sign}${Math.abs(contribution).toFixed(2)}`);
  }
  if (!neurons.length) add(list, "span", "", "no neuron with a weight is active here");
}

function showToken(line, { text, probability, in_answer = false, neurons = null }) {
  const token = add(line, "span", in_answer ? "token answer" : "token", text);
  shade(token, probability);
  if (neurons === null) return;
  token.tabIndex = 0;
  token.setAttribute("role", "button");
  const tip = add(token, "span", "tip", `p(hallucinated) of this token: ${probability.toFixed(2)}`);
  neuronList(tip, neurons);
}

function showDetection(section, line, detection) {
  if (detection.probability === null) {
    add(section, "p", "soft", `no probability: ${detection.why}`);
    return;
  }
  line.textContent = "";
  for (const token of detection.tokens) showToken(line, token);
  let text = `p(hallucinated) = ${detection.probability.toFixed(2)}`;
  if (detection.combined_probability !== null)
    text += `; with the model's confidence in these tokens: ${detection.combined_probability.toFixed(2)}`;
  add(section, "p", "probability", text);
  const details = add(section, "details", "", "");
  add(details, "summary", "", "strongest neurons over the underlined tokens");
  neuronList(details, detection.neurons);
}

// Yield the data of server-sent events.
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    buffer += value;
    const parts = buffer.split("\n\n");
    buffer = parts.pop();
    for (const part of parts) if (part !== "data: [DONE]") yield JSON.parse(part.slice("data: ".length));
  }
}

async function ask(question) {
  const section = add(conversation, "section", "reply", "");
  add(section, "p", "asked", question);
  const thoughts = add(section, "p", "thoughts soft", ""), line = add(section, "p", "tokens", "");
  const system = field("system").trim();
  const messages = [...(system ? [{ role: "system", content: system }] : []), ...said, { role: "user", content: question }];
  const body = JSON.stringify({ model: MODEL, messages, temperature: Number(field("temperature")), stream: true });
  const response = await fetch("v1/chat/completions", { method: "POST", body, headers: { "Content-Type": "application/json" } });
  if (!response.ok) throw new Error((await response.json()).error.message);
  let reply = "";
  for await (const chunk of events(response)) {
    if (chunk.error) throw new Error(chunk.error.message);
    const [choice] = chunk.choices;
    reply += choice.delta.content ?? "";
    thoughts.append(choice.delta.reasoning_content ?? "");
    if (choice.finish_reason) showDetection(section, line, choice.hallucination);
    else if (choice.delta.content) for (const token of choice.hallucination?.tokens ?? []) showToken(line, token);
  }
  said.push({ role: "user", content: question }, { role: "assistant", content: reply });
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button"), question = field("question");
  button.disabled = true;
  try {
    await ask(question);
    document.getElementById("question").value = "";
  } catch (error) {
    add(conversation, "p", "failed", error.message);
  } finally {
    button.disabled = false;
  }
});
