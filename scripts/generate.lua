#!/usr/bin/env qlua
--- Let a checkpoint, quantised or not, answer a prompt: the check that it runs end to end.
local qlua = require "qlua"

local opts = qlua.cli.parser{
  name = "generate",
  about = "Lets a checkpoint, quantised or not, answer a prompt: the check that it runs end to end.",
  options = {
    { name = "prompt", metavar = "TEXT", doc = "what to say (default: a question; with --image, to describe it)" },
    { name = "image", metavar = "FILE", type = "file", doc = "a picture to go with it" },
    { name = "tokens", short = "n", metavar = "TOKENS", type = "integer", least = 1, default = 64, doc = "the longest answer" },
    { name = "threads", metavar = "N", type = "threads", doc = "threads (default: all cores)" },
    { name = "plain", flag = true, doc = "no chat template: the model goes on with the text" },
  },
  arguments = { { name = "model", metavar = "DIR", type = "checkpoint", required = true, doc = "the checkpoint" } },
}:parse()

local engine = qlua.engine.open(opts.model, { threads = opts.threads })
local prompt = opts.prompt or opts.image and "Describe the image." or "What is the capital of France?"
if not opts.prompt then qlua.log.info("prompt: %s", prompt) end
local _, _, is_finished = engine:generate(prompt, {
  image = opts.image, tokens = opts.tokens, template = not opts.plain,
  on_token = function(text)
    io.write(text)
    io.flush()
  end,
})
print()
if not is_finished then qlua.log.info("cut off after %d tokens; -n takes more", opts.tokens) end
