---@meta qlua
-- Made from the declarations in src/lua/api; `QLUA_BLESS=1 cargo test --test lua_api` writes it anew.

---What `pcall` gives where a function of qlua raises; `tostring` gives the message. Servers take it for what the function gives
---when it does not: `---@cast problem +qlua.Error, -?` tells them.
---@class qlua.Error
---@field kind string what kind of problem it is, such as `usage` or `not_found`; `script` where Lua itself raised
---@field message string one sentence that names the thing
---@field hint? string what to do about it
---@field traceback string where it was raised

---A script that is to be run, and how.
---@class qlua.Job
---@field script string the name of a built-in script, or the path of a file
---@field options? table its options by name, with `_` or `-` between words: `{ top = "10..100:10", dry_run = true }`; a list gives an option that may be repeated several times, and any other its values separated by commas
---@field arguments? string[] what follows its options
---@field name? string what it is called, and its log (default: the name of the script)
---@field [`string`] "there is no such key"

---How a job ended.
---@class qlua.JobEnd
---@field name string its name
---@field ok boolean whether it ended with exit code 0
---@field code? integer its exit code; nil where a signal ended it
---@field seconds number how long it took
---@field message? string why it failed; nil where it did not
---@field log string the file with all that it wrote to standard output and standard error

---Options of qlua.jobs.
---@class qlua.jobs.Options
---@field workers? integer how many run at a time (default: `1`)
---@field threads? integer threads of all of them together; each gets its share (default: all cores)
---@field part? string `I/N`: only every N-th job from the I-th on, where N machines share them
---@field logs? string the directory of their logs, one a job (default: `"batch-logs"`)
---@field raise? boolean whether it raises, at the end, when one failed (default: `true`)
---@field [`string`] "there is no such option"

---The toolkit: `local qlua = require "qlua"`, also a global.
---@class qlua
---@field version string The version of qlua, such as `"0.2.0"`.
qlua = {}

---Iterates over a table in the order of its keys: numbers first, then strings. The order of `pairs` differs from run to run, so it must never decide about an output.
---
---Raises when a key is neither a number nor a string.
---
---```lua
---local names = {}
---for name in qlua.sorted{ b = 1, a = 2 } do names[#names + 1] = name end
---assert(table.concat(names) == "ab")
---```
---@param table table any table whose keys are numbers and strings
---@return fun(): any, any # an iterator over keys and values, for `for`
function qlua.sorted(table) end

---Runs scripts in processes of their own, several at a time, on past those that fail. Jobs with the same `out` run one after the other. Nothing begins when a script or an option is not known.
---
---Raises when a script or an option of one is not known, and, at the end, one failed.
---
---```lua
---local demo = qlua.checkpoint.demo("demo")
---local ends = qlua.jobs({
---  { script = "all_layers_topx", options = { model = demo.model, manifest = demo.manifest, top = { 10, 50 }, dry_run = true } },
---  { script = "lm_only_topx", options = { manifest = demo.manifest, dry_run = true } },
---}, { workers = 2 })
---assert(ends[1].ok and ends[2].name == "lm_only_topx")
---```
---@param jobs qlua.Job[] what to run, in this order
---@param options? qlua.jobs.Options `workers`, `threads`, `part`, `logs`, `raise`
---@return qlua.JobEnd[] # how each ended, in the order in which they are given
function qlua.jobs(jobs, options) end

---A small seeded checkpoint with a manifest.
---@class qlua.Demo
---@field model string its checkpoint directory
---@field manifest string its sensitivity manifest, which also carries amax values
---@field second_manifest string a manifest of the same model with other scores, as from a second run
---@field inputs string samples to run it with, as prepared tensors
---@field built boolean whether it was built just now rather than found

---A tensor that is not the same in two checkpoints.
---@class qlua.TensorDiff
---@field name string its name in the first, or in the second where it is there alone
---@field role "plain"|"codes"|"quantiser" what it is there for: `plain`, `codes` (of a quantised weight), or `quantiser` (scales and the like)
---@field outcome "same"|"only_in_a"|"only_in_b"|"shape"|"same_values"|"other_values"|"unread" how both compare; `same_values` are stored differently, `unread` as well and it is not known what they stand for
---@field dtype_a? string element type in the first; nil where it has no such tensor
---@field dtype_b? string element type in the second; nil where it has no such tensor
---@field bytes_a? integer size in the first; nil where it has no such tensor
---@field bytes_b? integer size in the second; nil where it has no such tensor
---@field max_difference? number largest difference between two elements, codes multiplied by their scales; nil where values are not compared
---@field sqnr_db? number signal to noise, the first being the signal; nil where values are not compared

---One weight file of a checkpoint.
---@class qlua.ShardRow
---@field name string file name
---@field bytes integer size of the file

---One tensor of a checkpoint.
---@class qlua.TensorRow
---@field name string on-disk name
---@field dtype string element type, such as `BF16`
---@field shape integer[] sizes of the dimensions, outermost first
---@field bytes integer size of the data
---@field shard string the file that holds it
---@field role "plain"|"codes"|"quantiser" what it is there for: `plain`, `codes` (of a quantised weight), or `quantiser` (scales and the like)

---Hugging Face checkpoint directories: memory-mapped and never written to.
---@class qlua.checkpoint
qlua.checkpoint = {}

---Opens a checkpoint directory: one file, or shards with an index; symlinked caches too.
---
---Raises when a file is missing or damaged, or the index names a file outside the directory.
---
---```lua
---local model = qlua.checkpoint.open(qlua.checkpoint.demo("demo").model)
---assert(model.model_type == "qwen2_5_vl")
---```
---@param path string the directory that holds config.json and *.safetensors
---@return qlua.Checkpoint # the checkpoint
function qlua.checkpoint.open(path) end

---Builds a small seeded checkpoint in the shape of Qwen2.5-VL, with a manifest, or finds the one built before.
---
---Raises when the directory holds something else under the same names.
---
---```lua
---local demo = qlua.checkpoint.demo("demo")
---assert(demo.built and not qlua.checkpoint.demo("demo").built)
---```
---@param directory string where it lies or will lie
---@return qlua.Demo # its parts
function qlua.checkpoint.demo(directory) end

---The tensors of two checkpoint directories that are not the same, the worst module first, as `qlua diff` shows them.
---
---Raises when a directory cannot be read.
---
---```lua
---local demo = qlua.checkpoint.demo("demo")
---assert(#qlua.checkpoint.diff(demo.model, demo.model) == 0)
---```
---@param a string a checkpoint directory, plain or quantised by any tool
---@param b string what it is compared with
---@return qlua.TensorDiff[] # one row per tensor that differs; none when all are the same
function qlua.checkpoint.diff(a, b) end

---An opened checkpoint directory.
---@class qlua.Checkpoint
---@field path string the directory
---@field model_type string|nil `model_type` of the configuration
---@field config table `config.json` as a table, made anew each time; null becomes nil
---@field bytes integer sum of all tensor bytes
---@field shards qlua.ShardRow[] the weight files in index order
---@field linears string[] every linear layer in on-disk spelling, in file order
local Checkpoint = {}

---Looks a tensor up.
---
---```lua
---local model = qlua.checkpoint.open(qlua.checkpoint.demo("demo").model)
---assert(model:tensor("model.embed_tokens.weight").dtype == "BF16")
---```
---@param name string its on-disk name
---@return qlua.Tensor|nil # the tensor, or nil
function Checkpoint:tensor(name) end

---Lists tensors in file order.
---
---```lua
---local model = qlua.checkpoint.open(qlua.checkpoint.demo("demo").model)
---assert(#model:tensors("visual.*") < #model:tensors())
---```
---@param names? string|string[]|(fun(name: string): any) only those whose on-disk name is chosen
---@return qlua.TensorRow[] # one row per tensor
function Checkpoint:tensors(names) end

---The on-disk name of a module in any spelling: as in a manifest, in memory, or in vLLM.
---
---```lua
---local model = qlua.checkpoint.open(qlua.checkpoint.demo("demo").model)
---assert(model:on_disk("language_model.layers.0.mlp.up_proj") == "model.layers.0.mlp.up_proj")
---```
---@param module string a module's name
---@return string|nil # the on-disk name, or nil when there is no such module
function Checkpoint:on_disk(module) end

---The name that Transformers gives a module in memory.
---
---```lua
---local model = qlua.checkpoint.open(qlua.checkpoint.demo("demo").model)
---assert(model:in_memory("visual.merger.mlp.0") == "model.visual.merger.mlp.0")
---```
---@param module string a module's name in any spelling
---@return string|nil # the in-memory name, or nil when there is no such module
function Checkpoint:in_memory(module) end

---An option (`--name VALUE`) or argument of a script.
---@class qlua.CliOption
---@field name string the name without dashes: `dry-run`; its key in the result is `dry_run`
---@field short? string a letter for it: `n` is typed as `-n`
---@field doc? string what it means, for `--help`
---@field type? "string"|"path"|"file"|"directory"|"checkpoint"|"name part"|"saved state"|"glob"|"integer"|"number"|"percent"|"coverage point"|"size"|"device"|"threads"|"dialect"|"activations"|"rounding"|"scale sharing"|"link"|"order"|"granularity"|"engine"|"string list"|"path list"|"file list"|"directory list"|"checkpoint list"|"glob list"|"integer list"|"number list"|"percent list"|"coverage point list"|"size list"|"granularity list"|"engine list" what the value must be (default: `"string"`); a `percent` is a share from 0 to 100, a `coverage point` above 0; a list of them is `10,20,12.5` or `10..100:10`; a `checkpoint` is a directory or the name of a model in the Hugging Face cache; a `size` is `6GiB` or `5.5GB` and comes as bytes; a `device` is `auto`, `cpu`, `cuda` or `cuda:N`; `dialect`, `activations`, `rounding`, `scale sharing`, `link`, `order`, `granularity` and `engine` take the words that the functions of those options take
---@field choices? string[] the words that the value may be
---@field least? number the least that a number or size, or each in a list, may be
---@field flag? boolean takes no value; false in the result when it is not there
---@field default? string|number|number[] what is parsed when it is left out
---@field metavar? string what stands for the value in `--help`: `DIR`
---@field required? boolean must be given
---@field repeated? boolean may be given several times; the result is a list
---@field [`string`] "there is no such key"

---Options of qlua.cli.parser.
---@class qlua.cli.parser.Options
---@field name string the script's name, as it is typed
---@field about? string what the script does, for `--help`
---@field options? qlua.CliOption[] what is given as `--name VALUE`
---@field arguments? qlua.CliOption[] what is given without dashes, in order
---@field [`string`] "there is no such option"

---The command line of a script: declared once, then parsed, checked and explained by `--help`.
---@class qlua.cli
qlua.cli = {}

---Declares what a script takes on its command line; `--help` is added.
---
---Raises when the declaration contradicts itself.
---
---```lua
---local parser = qlua.cli.parser{
---  name = "demo",
---  options = {
---    { name = "model", metavar = "DIR", type = "path", doc = "the base checkpoint" },
---    { name = "top", type = "percent list", default = "10..30:10" },
---    { name = "dry-run", flag = true },
---  },
---}
---local opts = parser:parse{ "--model=m", "--top", "5,12.5" }
---assert(opts.model == "m" and opts.top[2] == 12.5 and opts.dry_run == false)
---```
---@param options qlua.cli.parser.Options `name`, `about`, `options`, `arguments`
---@return qlua.Parser # the declared command line
function qlua.cli.parser(options) end

---A declared command line.
---@class qlua.Parser
---@field name string the script's name
local Parser = {}

---Reads a command line: a plain table with a key per option (`dry-run` as `dry_run`). `--help` prints the help and ends the script with exit code 0.
---
---Raises when the words are no such command line; uncaught, that is exit code 2.
---
---```lua
---local parser = qlua.cli.parser{ name = "demo", arguments = { { name = "file" } } }
---assert(parser:parse{ "a.json" }.file == "a.json")
---local ok, problem = pcall(parser.parse, parser, { "--fast" })
---assert(not ok and problem.kind == "usage")
---```
---@param words? string[] the words; without them, those of the global `arg`
---@return table # the values; nil for what was left out and has no default
function Parser:parse(words) end

---The text that `--help` prints.
---
---```lua
---assert(qlua.cli.parser{ name = "demo" }:help():find("Usage: qlua demo"))
---```
---@return string # lines of text
function Parser:help() end

---What a model says of one sample.
---@class qlua.Forward
---@field loss number mean negative logarithm of the probability of each next token
---@field tokens integer tokens of the sample
---@field logits qlua.Tensor the logits, F32 [tokens, vocabulary]

---How the predictions of a scheme differ from those of the checkpoint that it was made from.
---@class qlua.Quality
---@field samples integer samples
---@field tokens integer positions at which predictions were compared
---@field kl number KL(base ‖ scheme), mean over all positions
---@field kl_error number its standard error
---@field perplexity number perplexity of the scheme
---@field perplexity_error number its standard error
---@field base_perplexity number perplexity of the base
---@field agreement number share of positions at which both find the same token likeliest, 0 to 1
---@field agreement_error number its standard error
---@field measured_on string a hash of base, samples, and where their predictions count: figures with the same one can be compared

---What is known of one linear layer.
---@class qlua.LayerFigures
---@field name string its name, such as `layers.0.mlp.up_proj` or `vision.blocks.3.attn.qkv`
---@field weights integer number of weights
---@field input_amax number largest magnitude of its inputs over all samples
---@field input_rms number root mean square of its inputs
---@field weight_amax number largest magnitude of its weight
---@field scores number[] a score for each format; empty after calibration alone
---@field output_errors number[] the squared error of its outputs in each format, summed over all tokens; 0 where no gradients were computed

---Options of qlua.engine.open.
---@class qlua.engine.open.Options
---@field device? "auto"|"cpu" where it runs: on the CPU, so far (default: `"auto"`)
---@field threads? integer threads of this process; the first that says decides (default: all cores)
---@field [`string`] "there is no such option"

---Options of Engine:samples.
---@class qlua.Engine.samples.Options
---@field captions? string a text file, a caption a line
---@field pairs? string an SQLite file with the table `vlm_calib_samples`; `images` says where its pictures are
---@field images? string the folder that the paths of `pairs` begin in
---@field split? string only pairs of this split
---@field inputs? string prepared tensors, `text.N.*` and `vlm.N.*`, in a safetensors file
---@field kind? "text"|"vlm" which of the prepared tensors (default: `"vlm"`)
---@field text? string a long text, cut into windows of `max_length` tokens of which the second half counts, as llama.cpp's perplexity tool does
---@field count? integer at most so many (default: `4096`)
---@field max_length? integer tokens of a sample, the rest is cut off (default: `512`)
---@field [`string`] "there is no such option"

---Options of Engine:generate.
---@class qlua.Engine.generate.Options
---@field image? string a picture to go with the prompt
---@field tokens? integer at most so many (default: `64`)
---@field template? boolean false: the model goes on with the prompt as it stands (default: `true`)
---@field on_token? fun(text: string) takes the text piece by piece, as soon as whole characters are there
---@field [`string`] "there is no such option"

---Options of Engine:sensitivity.
---@class qlua.Engine.sensitivity.Options
---@field method? "gradient"|"kl_div" `gradient`: the error of each layer's output weighted by the gradient of the loss; `kl_div`: the KL divergence of the model's output, a pass for each group (default: `"gradient"`)
---@field formats? ("tensor"|"channel"|"block")[] the scales to try: one for a tensor, each row, or each 128×128 block (default: `{ "tensor" }`)
---@field score_steps? integer samples that score (default: `128`)
---@field record? string the manifest that is to come of it: what is finished is kept in a hidden directory beside it until it is written, so that a run that was killed goes on (default: none)
---@field [`string`] "there is no such option"

---Options of Sensitivity:write.
---@class qlua.Sensitivity.write.Options
---@field name? string the scheme's name (default: `"fp8_autoquant_all_layers_fp8"`)
---@field coverage? "all-layers"|"lm-only" `lm-only` leaves the vision tower as it is (default: `"all-layers"`)
---@field effective_bits? number what the search solves for (default: `11.0`)
---@field overwrite? boolean replace existing files (default: `false`)
---@field [`string`] "there is no such option"

---Runs models, quantised or not: calibration, sensitivity scores, quality and answers to prompts, on the CPU in F32. Qwen2-VL, Qwen2.5-VL, Qwen3-VL, Qwen2, Qwen3, Llama and Mistral.
---@class qlua.engine
qlua.engine = {}

---Opens a checkpoint to run it. A quantised one is run as its loader would: code × scale, inputs rounded.
---
---Raises when it cannot be read, or its architecture is not computed.
---
---```lua
---local engine = qlua.engine.open(qlua.checkpoint.demo("demo").model)
---assert(engine.has_vision)
---```
---@param path string the directory
---@param options? qlua.engine.open.Options `device`, `threads`
---@return qlua.Engine # the engine
function qlua.engine.open(path, options) end

---A model that can be run.
---@class qlua.Engine
---@field path string its checkpoint
---@field model_type string its architecture, such as `qwen2_5_vl`
---@field bytes integer the size of its tensors
---@field has_vision boolean whether it has a vision tower
local Engine = {}

---Reads samples with the tokenizer, chat template and picture settings of the checkpoint. Exactly one of `captions`, `pairs`, `inputs` and `text` is given.
---
---Raises when a file cannot be read, is empty, or does not fit the model.
---
---```lua
---local engine = qlua.engine.open(qlua.checkpoint.demo("demo").model)
---qlua.fs.write("captions.txt", "A cat on a mat.\nTwo dogs in the sun.\n")
---local samples = engine:samples{ captions = "captions.txt" }
---assert(samples.count == 2 and not samples.has_pictures)
---```
---@param options? qlua.Engine.samples.Options `captions`, `pairs`, `images`, `split`, `inputs`, `kind`, `text`, `count`, `max_length`
---@return qlua.Samples # the samples
function Engine:samples(options) end

---Runs samples through the model.
---
---```lua
---local engine = qlua.engine.open(qlua.checkpoint.demo("demo").model)
---qlua.fs.write("captions.txt", "A cat on a mat.\nTwo dogs in the sun.\n")
---local samples = engine:samples{ captions = "captions.txt" }
---local said = engine:forward(samples)[1]
---assert(said.loss > 0 and said.logits.shape[1] == said.tokens)
---```
---@param samples qlua.Samples the samples
---@return qlua.Forward[] # loss and logits of each sample
function Engine:forward(samples) end

---How the predictions of schemes differ from those of this checkpoint, which runs once for all of them.
---
---Raises when the vocabularies differ.
---
---```lua
---local engine = qlua.engine.open(qlua.checkpoint.demo("demo").model)
---qlua.fs.write("captions.txt", "A cat on a mat.\nTwo dogs in the sun.\n")
---local samples = engine:samples{ captions = "captions.txt" }
---assert(engine:quality({ engine }, samples)[1].kl == 0)
---```
---@param schemes qlua.Engine[] the schemes, or any checkpoints with the same vocabulary
---@param samples qlua.Samples what all are run with
---@return qlua.Quality[] # KL, perplexity and agreement of each
function Engine:quality(schemes, samples) end

---A hash of configuration and weights: models with the same one give the same results.
---
---```lua
---local engine = qlua.engine.open(qlua.checkpoint.demo("demo").model)
---qlua.fs.write("captions.txt", "A cat on a mat.\nTwo dogs in the sun.\n")
---local samples = engine:samples{ captions = "captions.txt" }
---assert(#engine:identity() == 32)
---```
---@return string # 32 hexadecimal digits
function Engine:identity() end

---Answers a prompt with the likeliest token after the likeliest, in the chat template of the checkpoint, until the model ends its answer or there are `tokens` of them. Special tokens are no part of the text.
---
---Raises when the checkpoint has no chat template, or sees no pictures.
---
---Raises when the function raises.
---
---```lua
---local engine = qlua.engine.open(qlua.checkpoint.demo("demo").model)
---local pieces = {}
---local text, tokens = engine:generate("Hello", {
---  tokens = 4,
---  on_token = function(piece) table.insert(pieces, piece) end,
---})
---assert(#tokens <= 4 and table.concat(pieces) == text)
---```
---@param prompt string what the user says
---@param options? qlua.Engine.generate.Options `image`, `tokens`, `template`, `on_token`
---@return string # the text
---@return integer[] # its tokens, the one that ends it as well
---@return boolean # whether the model ended it
function Engine:generate(prompt, options) end

---Runs samples and keeps what goes into each linear layer.
---
---Raises when weights or inputs are not finite.
---
---```lua
---local engine = qlua.engine.open(qlua.checkpoint.demo("demo").model)
---qlua.fs.write("captions.txt", "A cat on a mat.\nTwo dogs in the sun.\n")
---local samples = engine:samples{ captions = "captions.txt" }
---assert(engine:calibrate(samples)[1].input_amax > 0)
---```
---@param samples qlua.Samples the samples
---@return qlua.LayerFigures[] # the layers in the order in which they run
function Engine:calibrate(samples) end

---Scores every linear layer in every format, as NVIDIA ModelOpt's AutoQuant does: inputs are calibrated on all samples, then the first `score_steps` of them score.
---
---Raises when the checkpoint is quantised already, or weights or inputs are not finite.
---
---```lua
---local engine = qlua.engine.open(qlua.checkpoint.demo("demo").model)
---qlua.fs.write("captions.txt", "A cat on a mat.\nTwo dogs in the sun.\n")
---local samples = engine:samples{ captions = "captions.txt" }
---local scores = engine:sensitivity(samples, { formats = { "tensor", "block" } })
---assert(#scores.layers[1].scores == 2)
---```
---@param samples qlua.Samples the samples
---@param options? qlua.Engine.sensitivity.Options `method`, `formats`, `score_steps`, `record`
---@return qlua.Sensitivity # the scores
function Engine:sensitivity(samples, options) end

---Samples to run a model with.
---@class qlua.Samples
---@field count integer how many
---@field tokens integer tokens of all together
---@field has_pictures boolean whether there are pictures
---@field kind string `captions`, `pairs`, `prepared` or `text`
---@field hashes string[] a hash of each sample
local Samples = {}

---How much each linear layer suffers from each format.
---@class qlua.Sensitivity
---@field layers qlua.LayerFigures[] the layers in the order in which they run
---@field losses number[] the mean loss of each sample, unquantised
---@field method string `gradient` or `kl_div`
local Sensitivity = {}

---The same layers with scores of your own.
---
---Raises when the function raises, or gives no number from 0 on.
---
---```lua
---local engine = qlua.engine.open(qlua.checkpoint.demo("demo").model)
---qlua.fs.write("captions.txt", "A cat on a mat.\nTwo dogs in the sun.\n")
---local samples = engine:samples{ captions = "captions.txt" }
---local scores = engine:sensitivity(samples)
---local outliers = scores:scored_by(function(layer) return layer.input_amax / layer.input_rms end)
---assert(outliers.layers[1].scores[1] > 1)
---```
---@param score fun(layer: qlua.LayerFigures, format: integer): number the score of a layer in the format of this number; higher is worse
---@return qlua.Sensitivity # the scores
function Sensitivity:scored_by(score) end

---Writes the files of an AutoQuant run into a directory: `NAME_quant_manifest.json`, `NAME_amax.json`, `per-layer-sensitivity.json` and `per-layer-sensitivity.md`. Output heads and patch embeddings stay as they are.
---
---Raises when a layer was not reached by any sample, such as those of the vision tower by captions alone.
---
---Raises when a file exists.
---
---```lua
---local engine = qlua.engine.open(qlua.checkpoint.demo("demo").model)
---qlua.fs.write("captions.txt", "A cat on a mat.\nTwo dogs in the sun.\n")
---local samples = engine:samples{ captions = "captions.txt" }
---local manifest = engine:sensitivity(samples):write("run", { coverage = "lm-only" })
---assert(manifest.method == "gradient" and manifest.has_amax)
---```
---@param directory string where they go
---@param options? qlua.Sensitivity.write.Options `name`, `coverage`, `effective_bits`, `overwrite`
---@return qlua.Manifest # the manifest
function Sensitivity:write(directory, options) end

---The layout of a family's schemes; over a manifest alone there is none.
---@class qlua.Decision
---@field dialect? string a word of the option `dialect` other than `auto`; nil over a manifest alone
---@field activations? string `static` or `dynamic`; nil over a manifest alone
---@field rounding? string `exact` or `modelopt`; nil over a manifest alone
---@field scale_sharing? string `group` or `none`; nil over a manifest alone
---@field notes string[] one sentence for each choice that `auto` made, and for each engine that cannot read some FP8 layer

---A scheme before it is written.
---@class qlua.PlannedScheme
---@field name string the scheme's name, which is its directory's
---@field directory? string where it goes; nil over a manifest alone
---@field percent number the coverage point
---@field groups integer selected groups
---@field groups_total integer ranked groups
---@field fp8_layers integer linear layers in FP8
---@field fp8_parameters integer weights in FP8
---@field kept integer selected groups that stay in BF16
---@field parameters integer weights of all groups of the manifest
---@field bytes integer sum of all tensor bytes: exact from a checkpoint's headers
---@field bytes_from string `checkpoint`, or `manifest`: then only its groups are counted, at two bytes for each weight of 16 bits
---@field effective_bits? number by ModelOpt's cost model, over all groups of the manifest; nil when a cost is no number
---@field bits_on_disk? number 8 × bytes / elements of the whole checkpoint, scales and embeddings included; nil over a manifest alone
---@field score? number the summed score of what is in FP8; nil when it is not finite

---A weight file of a scheme, as it lies there or will.
---@class qlua.SchemeFile
---@field file string its name in the directory
---@field bytes integer its size, header included
---@field schemes integer how many schemes of the family have this very file; a copy or a reflink is a file of its own

---What the weight files of a family take on the disk, as `du` counts them: each file once, however many names it has. A copy is a file of its own, and so is a reflink, although it shares blocks.
---@class qlua.OnDisk
---@field unique_bytes integer each file counted once
---@field copied_bytes integer each file counted in every directory that holds it
---@field files qlua.SchemeFile[][] the files of each scheme, in the order in which they were added

---What a run of a family did. Bytes are those of weight files.
---@class qlua.Outcome
---@field schemes qlua.Written[] one row per scheme, in the order in which they were added
---@field written_bytes integer written by this run
---@field resumed_bytes integer taken over from a run that was stopped
---@field reused_bytes integer taken from finished schemes
---@field link? string `reflink`, `hardlink` or `copy`: how shards are shared, the worst way of all; nil when none was
---@field on_disk qlua.OnDisk what the files of all its schemes take now, those included that were there

---A directory that was written, or was there already.
---@class qlua.Written
---@field name string the directory's name
---@field directory string the directory
---@field bytes integer sum of all tensor bytes
---@field up_to_date boolean whether it was there already, made from the same inputs

---Options of qlua.export.family.
---@class qlua.export.family.Options
---@field model? string the base checkpoint; without one the family is planned from the manifest alone, and cannot be written
---@field manifest string|qlua.Manifest the sensitivity manifest, or where it is
---@field out? string where the scheme directories go (default: `"quantized"`)
---@field baseline? string an FP8 baseline whose `input_scale` tensors are used
---@field amax? string a JSON file of amax values that input scales are made from (default: the manifest's own `amax`, where it has one)
---@field state? string an AutoQuant state that is copied into every directory as it is
---@field dialect? "auto"|"universal"|"compressed-tensors"|"modelopt"|"fp8-block" `auto` is `universal` when static and `compressed-tensors` when dynamic (default: `"auto"`)
---@field for_engines? ("vllm"|"sglang"|"transformers")[] engines that have to read every scheme: what one of them gets wrong is refused before anything is written
---@field format_from? string the format whose scores and costs decide, by the beginning of its name in the manifest, although another one is written
---@field activations? "auto"|"static"|"dynamic" `auto` is static when every selected layer has an input scale (default: `"auto"`)
---@field rounding? "exact"|"modelopt" the F32 quotient, or the BF16 quotient as ModelOpt has it on the CPU (default: `"exact"`)
---@field scale_sharing? "group"|"none" whether fused modules share the scale of their largest amax (default: `"group"`)
---@field overwrite? boolean whether existing scheme directories are replaced, up to date or not, unless they are links to some; what qlua did not write, or was changed since, is moved to `NAME.kept` beside them (default: `false`)
---@field card? boolean whether every directory has a model card for the Hugging Face Hub, `README.md`, in the place of that of the base checkpoint (default: `true`)
---@field link? "auto"|"reflink"|"hardlink"|"copy" how schemes share files: `auto` is the first of reflink, hardlink and copy that the file system can do (default: `"auto"`)
---@field max_shard_size? integer tensor bytes that a shard holds at most; 100000 is the least (default: `5000000000`)
---@field threads? integer threads that read, convert, hash, check and write; the bytes do not depend on it. The first call that says it decides for what hashes and checks in the whole process (default: all cores)
---@field device? string `cpu`, `cuda` (every GPU), `cuda:N`, or `auto`: GPUs where there are some; weight files are the same bytes, error sums equal to 1e-6 (default: `"auto"`)
---@field [`string`] "there is no such option"

---Options of qlua.export.writer.
---@class qlua.export.writer.Options
---@field out string the directory that will appear
---@field base? string|qlua.Checkpoint the checkpoint that tensors are named from
---@field companions? boolean whether the base's tokenizer, processor and configuration come along (default: `true`)
---@field overwrite? boolean whether an existing checkpoint directory is replaced, unless it is a link to one; what it holds beside a checkpoint's files is moved to `NAME.kept` beside it (default: `false`)
---@field max_shard_size? integer tensor bytes that a shard holds at most; 100000 is the least (default: `5000000000`)
---@field threads? integer threads that read, convert, hash, check and write; the bytes do not depend on it. The first call that says it decides for what hashes and checks in the whole process (default: all cores)
---@field [`string`] "there is no such option"

---Options of Writer:quantize.
---@class qlua.Writer.quantize.Options
---@field granularity? "tensor"|"channel"|"block" one scale, one per output channel, or one per block of 128×128 (default: `"channel"`)
---@field rounding? "exact"|"modelopt" how quotients are rounded (default: `"exact"`)
---@field input_scale? number the activation scale, for static activations
---@field [`string`] "there is no such option"

---Writes checkpoint directories: checked as every loader would, and whole or not at all.
---@class qlua.export
qlua.export = {}

---Opens a base checkpoint and a manifest for a sweep of schemes.
---
---Raises when the checkpoint is quantised already, or the manifest names modules that it does not hold.
---
---```lua
---local demo = qlua.checkpoint.demo("demo")
---local family = qlua.export.family{ model = demo.model, manifest = demo.manifest, out = "out" }
---family:add("top10", family.manifest:ranking():lowest(10))
---assert(family:plan()[1].fp8_layers > 0)
---```
---@param options qlua.export.family.Options `model`, `manifest`, `out`, `baseline`, `amax`, `state`, `dialect`, `for_engines`, `format_from`, `activations`, `rounding`, `scale_sharing`, `overwrite`, `card`, `link`, `max_shard_size`, `threads`, `device`
---@return qlua.Family # a family without schemes
function qlua.export.family(options) end

---Begins a directory that is put together tensor by tensor. Nothing is read or written before `finish`, which streams; only tensors made in a script stay in memory until then.
---
---Raises when the directory exists and `overwrite` is not set, or it would touch the base.
---
---```lua
---local model = qlua.checkpoint.open(qlua.checkpoint.demo("demo").model)
---local writer = qlua.export.writer{ out = "copy", base = model }
---writer:copy("*")
---writer:finish()
---assert(qlua.checkpoint.open("copy").bytes == model.bytes)
---```
---@param options qlua.export.writer.Options `out`, `base`, `companions`, `overwrite`, `max_shard_size`, `threads`
---@return qlua.Writer # a writer without tensors
function qlua.export.writer(options) end

---Makes sure that a dialect can have these activations, whatever is exported: what a policy asks before it builds anything.
---
---Raises when the dialect has others.
---
---```lua
---assert(not pcall(qlua.export.require_activations, "fp8-block", "static"))
---```
---@param dialect "auto"|"universal"|"compressed-tensors"|"modelopt"|"fp8-block" the dialect; `auto` can have both
---@param activations "auto"|"static"|"dynamic" the activations; `auto` are what the dialect has
function qlua.export.require_activations(dialect, activations) end

---Has the model card of a scheme say what was measured of it, by the `quality.json` beside the directory; the record of the scheme gets the card's new hash. A card that is not as qlua wrote it stays as it is.
---
---Raises when another process writes to the directory, or it cannot be written to.
---
---```lua
---local demo = qlua.checkpoint.demo("demo")
---assert(qlua.export.refresh_card(demo.model) == "absent")
---```
---@param path string the directory of the scheme
---@return string # `written`; `same` where there is nothing to change; `changed` where somebody has changed the card, and it stays so; `absent` where the scheme has no card of qlua's
function qlua.export.refresh_card(path) end

---The schemes of one sweep over one base checkpoint.
---@class qlua.Family
---@field manifest qlua.Manifest the sensitivity manifest
---@field checkpoint qlua.Checkpoint|nil the base checkpoint; nil over a manifest alone
local Family = {}

---Adds a scheme that stores the selected groups in FP8. Nothing is written yet.
---
---Raises when the name is taken or no plain directory name, nothing is selected, or the selection splits a fused group.
---
---```lua
---local demo = qlua.checkpoint.demo("demo")
---local family = qlua.export.family{ model = demo.model, manifest = demo.manifest, out = "out" }
---family:add("top10", family.manifest:ranking():lowest(10))
---family:add("top20", family.manifest:ranking():lowest(20))
---```
---@param name string the scheme's name, which is its directory's
---@param selection qlua.Selection the groups
---@return qlua.Family # the family itself
function Family:add(name, selection) end

---Chooses dialect and activations, and says why. One layout for all schemes, so that they can be compared.
---
---Raises when static activations were asked for and layers have no input scale.
---
---```lua
---local demo = qlua.checkpoint.demo("demo")
---local family = qlua.export.family{ model = demo.model, manifest = demo.manifest, out = "out" }
---family:add("top10", family.manifest:ranking():lowest(10))
---assert(family:decide().dialect == "universal")
---```
---@return qlua.Decision # the layout
function Family:decide() end

---What each scheme will be, from headers alone.
---
---Raises when as `decide`.
---
---```lua
---local demo = qlua.checkpoint.demo("demo")
---local family = qlua.export.family{ model = demo.model, manifest = demo.manifest, out = "out" }
---family:add("top10", family.manifest:ranking():lowest(10))
---assert(family:plan()[1].name == "top10")
---```
---@return qlua.PlannedScheme[] # one row per scheme, in the order in which they were added
function Family:plan() end

---The plan of a scheme as data: which module is stored in which format.
---
---Raises when the family has no such scheme.
---
---```lua
---local demo = qlua.checkpoint.demo("demo")
---local family = qlua.export.family{ model = demo.model, manifest = demo.manifest, out = "out" }
---family:add("top10", family.manifest:ranking():lowest(10))
---assert(family:formats("top10")["model.embed_tokens"] == "BF16")
---```
---@param name string the scheme's name
---@return table<string, string> # by on-disk name of the module: `FP8`, or the dtype that it keeps
function Family:formats(name) end

---The weight files of a scheme if all were written anew: exact, from headers alone. What will lie there beside what is there already says `check`.
---
---Raises when the family has no such scheme.
---
---```lua
---local demo = qlua.checkpoint.demo("demo")
---local family = qlua.export.family{ model = demo.model, manifest = demo.manifest, out = "out" }
---family:add("top10", family.manifest:ranking():lowest(10))
---assert(family:files("top10")[1].bytes > 0)
---```
---@param name string the scheme's name
---@return qlua.SchemeFile[] # one row per file, in the order of their numbers
function Family:files(name) end

---Bytes of the weight files of all schemes together if all were written anew, each file counted once (none is shared where `link` is `copy` or `reflink`); exact, from headers alone. What lies there says the outcome of `run`, and what will, `check`.
---
---Raises when as `decide`.
---
---```lua
---local demo = qlua.checkpoint.demo("demo")
---local family = qlua.export.family{ model = demo.model, manifest = demo.manifest, out = "out" }
---family:add("top10", family.manifest:ranking():lowest(10))
---family:add("top20", family.manifest:ranking():lowest(20))
---assert(family:unique_bytes() < 2 * family:plan()[1].bytes)
---```
---@return integer|nil # what the family takes on the disk if all is written anew; nil over a manifest alone
function Family:unique_bytes() end

---Bytes of the weight files of all schemes together, each file counted in every directory that holds it; exact, from headers alone.
---
---Raises when as `decide`.
---
---```lua
---local demo = qlua.checkpoint.demo("demo")
---local family = qlua.export.family{ model = demo.model, manifest = demo.manifest, out = "out" }
---family:add("top10", family.manifest:ranking():lowest(10))
---family:add("top20", family.manifest:ranking():lowest(20))
---assert(family:unique_bytes() < family:copied_bytes())
---```
---@return integer|nil # what the family would take if nothing were shared; nil over a manifest alone
function Family:copied_bytes() end

---Looks for whatever would stop `run` before it writes a byte; of a GPU that was named and is not here it is said that a run would fail. Weights of 256 MiB at most are looked through for NaN and infinity; of more it is said that they were not. Where schemes of this base checkpoint are there, it and what can be taken from them are hashed. How files can be shared is tried in the output folder.
---
---Raises when as `run`.
---
---```lua
---local demo = qlua.checkpoint.demo("demo")
---local family = qlua.export.family{ model = demo.model, manifest = demo.manifest, out = "out" }
---family:add("top10", family.manifest:ranking():lowest(10))
---assert(family:check().copied_bytes == family:copied_bytes())
---```
---@return qlua.OnDisk # what the files of all schemes will take: those that are there and stay, and those that are made
function Family:check() end

---Writes every scheme that is not up to date. Each is checked before it takes its name. Tensors that several schemes hold are written once and shared; shards of finished schemes in the same directory are reused. Weights are quantised on `device`, but those that share a scale and take more than 1 GiB together by the CPU: they would have to fit into a GPU at once.
---
---Raises when a directory of other inputs exists and `overwrite` is not set, a `report.html` or `report.md` that qlua did not write lies beside the schemes, an output would touch the sources, or the disk is full.
---
---Raises when a weight is NaN or infinite.
---
---Raises when a GPU was named and there is none, or it fails.
---
---```lua
---local demo = qlua.checkpoint.demo("demo")
---local family = qlua.export.family{ model = demo.model, manifest = demo.manifest, out = "out" }
---family:add("top10", family.manifest:ranking():lowest(10))
---local outcome = family:run()
---assert(#qlua.verify.directory(outcome.schemes[1].directory) == 0)
---```
---@return qlua.Outcome # what was done
function Family:run() end

---Writes `report.html`, a page that needs no other file, and `report.md` beside the schemes: sizes, scores, heat maps, frontier, commands, of every scheme that is on record there, whatever run wrote it. A report that lies there is replaced.
---
---Raises when a file of that name was not written by qlua.
---
---```lua
---local demo = qlua.checkpoint.demo("demo")
---local family = qlua.export.family{ model = demo.model, manifest = demo.manifest, out = "out" }
---family:add("top10", family.manifest:ranking():lowest(10))
---local page, text = family:report()
---assert(page == "out/report.html" and text == "out/report.md")
---```
---@return string # the page
---@return string # the Markdown
function Family:report() end

---A directory in the making.
---@class qlua.Writer
---@field names string[] the tensors that were added, in order
local Writer = {}

---Adds tensors of the base as they are.
---
---Raises when a plain name matches nothing.
---
---```lua
---local model = qlua.checkpoint.open(qlua.checkpoint.demo("demo").model)
---local writer = qlua.export.writer{ out = "copy", base = model }
---writer:quantize("model.layers.0.mlp.down_proj")
---assert(writer:copy("*") > 0)
---```
---@param names string|string[]|(fun(name: string): any) which, by on-disk name; those added already are left as they are
---@return integer # how many were added
function Writer:copy(names) end

---Adds a tensor under any name.
---
---Raises when the name is taken.
---
---```lua
---local model = qlua.checkpoint.open(qlua.checkpoint.demo("demo").model)
---local writer = qlua.export.writer{ out = "copy", base = model }
---writer:add("extra", qlua.tensor.from_list{ 1, 2 })
---```
---@param name string its name
---@param tensor qlua.Tensor its values
function Writer:add(name, tensor) end

---Adds a tensor of the base in another dtype, rounded to nearest even.
---
---Raises when the base has no such tensor, or the name is taken.
---
---```lua
---local model = qlua.checkpoint.open(qlua.checkpoint.demo("demo").model)
---local writer = qlua.export.writer{ out = "copy", base = model }
---writer:cast("model.norm.weight", "f32")
---```
---@param name string the tensor's name
---@param dtype "bf16"|"f16"|"f32"|"BF16"|"F16"|"F32" the element type
function Writer:cast(name, dtype) end

---Adds the E4M3 codes of a linear layer's weight, and its scales beside them: BF16, or for blocks F32.
---
---Raises when the base has no such layer, or its weight has no FP8 form.
---
---```lua
---local model = qlua.checkpoint.open(qlua.checkpoint.demo("demo").model)
---local writer = qlua.export.writer{ out = "copy", base = model }
---writer:quantize("model.layers.0.mlp.down_proj")
---assert(#writer.names == 2)
---```
---@param module string the layer's on-disk name, without `.weight`
---@param options? qlua.Writer.quantize.Options `granularity`, `rounding`, `input_scale`
function Writer:quantize(module, options) end

---Adds an FP8 weight of the base as code × scale, whichever tool made it. Blocks are as large as the base's configuration says.
---
---Raises when the weight is not FP8, has no scales that fit, or has something beside it whose meaning is not known.
---
---```lua
---local model = qlua.checkpoint.open(qlua.checkpoint.demo("demo").model)
---local writer = qlua.export.writer{ out = "copy", base = model }
---writer:quantize("model.layers.0.mlp.down_proj")
---writer:copy("*")
---writer:finish()
---local back = qlua.export.writer{ out = "back", base = "copy" }
---back:dequantize("model.layers.0.mlp.down_proj")
---back:finish()
---```
---@param name string the name of the tensor, or of its layer, without `.weight`
---@param dtype? "bf16"|"f16"|"f32"|"BF16"|"F16"|"F32" the element type (default: `"bf16"`)
---@return boolean # whether it has scales; without any, and where nothing tells of any, the codes are taken for the values
function Writer:dequantize(name, dtype) end

---Gives an added tensor another name.
---
---Raises when nothing of that name was added, or the new name is taken.
---
---```lua
---local model = qlua.checkpoint.open(qlua.checkpoint.demo("demo").model)
---local writer = qlua.export.writer{ out = "copy", base = model }
---writer:copy("model.norm.weight")
---writer:rename("model.norm.weight", "norm.weight")
---```
---@param name string the tensor's name
---@param new_name string the new name
function Writer:rename(name, new_name) end

---Takes an added tensor out again.
---
---Raises when nothing of that name was added.
---
---```lua
---local model = qlua.checkpoint.open(qlua.checkpoint.demo("demo").model)
---local writer = qlua.export.writer{ out = "copy", base = model }
---writer:copy("*")
---writer:drop("model.norm.weight")
---```
---@param name string the tensor's name
function Writer:drop(name) end

---Adds a file beside the weights; it takes the place of a companion of the same name.
---
---Raises when the name is no plain file name, or that of weights.
---
---```lua
---local model = qlua.checkpoint.open(qlua.checkpoint.demo("demo").model)
---local writer = qlua.export.writer{ out = "copy", base = model }
---writer:file("NOTICE", "Made for a test.")
---```
---@param name string its name
---@param content string its content
function Writer:file(name, content) end

---Writes everything, checks the directory as every loader would, and gives it its name. `config.json` gets the `quantization_config` that FP8 layers need, and loses one when nothing is quantised any more.
---
---Raises when there is no tensor, the checks find a problem, or the disk is full; nothing is left behind then.
---
---```lua
---local model = qlua.checkpoint.open(qlua.checkpoint.demo("demo").model)
---local writer = qlua.export.writer{ out = "copy", base = model }
---writer:copy("*")
---assert(writer:finish().bytes == model.bytes)
---```
---@return qlua.Written # what was written
function Writer:finish() end

---What quantisation did to the values of a tensor.
---@class qlua.QuantisationError
---@field elements integer number of elements
---@field mse number mean squared error
---@field sqnr number signal to quantisation noise ratio
---@field max_error number largest error of an element
---@field saturated_share number share of values beyond ±448 × scale, 0 to 1
---@field zeroed_share number share of non-zero values whose code is zero, 0 to 1

---Options of qlua.fp8.amax.
---@class qlua.fp8.amax.Options
---@field granularity? "tensor"|"channel"|"block" over the tensor, each row, or each 128×128 block (default: `"tensor"`)
---@field device? string `cpu`, `cuda` (every GPU), `cuda:N`, or `auto`: GPUs where there are some; the bytes are the same (default: `"cpu"`)
---@field [`string`] "there is no such option"

---Options of qlua.fp8.quantize.
---@class qlua.fp8.quantize.Options
---@field granularity? "tensor"|"channel"|"block" one scale for the tensor, each row, or each 128×128 block (default: `"tensor"`)
---@field rule? "f32"|"bf16" a scale is amax / 448 in F32, or that rounded up to a BF16 value (default: `"f32"`)
---@field rounding? "exact"|"modelopt" the F32 quotient, or the BF16 quotient as ModelOpt has it on the CPU (default: `"exact"`)
---@field scales? qlua.Tensor scales to use as they are (default: made from the amax)
---@field device? string `cpu`, `cuda` (every GPU), `cuda:N`, or `auto`: GPUs where there are some; the bytes are the same (default: `"cpu"`)
---@field [`string`] "there is no such option"

---Options of qlua.fp8.dequantize.
---@class qlua.fp8.dequantize.Options
---@field dtype? "bf16"|"f16"|"f32"|"BF16"|"F16"|"F32" the element type of the result (default: `"bf16"`)
---@field block_size? integer[] rows and columns of a block that one of the scales is for, as `weight_block_size` has them (default: told by the shape)
---@field device? string `cpu`, `cuda` (every GPU), `cuda:N`, or `auto`: GPUs where there are some; the bytes are the same (default: `"cpu"`)
---@field [`string`] "there is no such option"

---Options of qlua.fp8.error.
---@class qlua.fp8.error.Options
---@field granularity? "tensor"|"channel"|"block" one scale for the tensor, each row, or each 128×128 block (default: `"tensor"`)
---@field rule? "f32"|"bf16" a scale is amax / 448 in F32, or that rounded up to a BF16 value (default: `"f32"`)
---@field rounding? "exact"|"modelopt" the F32 quotient, or the BF16 quotient as ModelOpt has it on the CPU (default: `"exact"`)
---@field scales? qlua.Tensor scales to use as they are (default: made from the amax)
---@field device? string `cpu`, `cuda` (every GPU), `cuda:N`, or `auto`: GPUs where there are some; the bytes are the same (default: `"cpu"`)
---@field [`string`] "there is no such option"

---E4M3 codes and scales: a value is code × scale. Rounded to nearest even, saturated at ±448, NaN kept.
---@class qlua.fp8
---@field max number the largest E4M3 value, 448
qlua.fp8 = {}

---The code nearest to a number.
---
---```lua
---assert(qlua.fp8.encode(1.0) == 0x38 and qlua.fp8.encode(1e9) == 0x7e)
---```
---@param value number the number, rounded to F32 first
---@return integer # the code, 0 to 255
function qlua.fp8.encode(value) end

---The number that a code stands for.
---
---Raises when the code is not between 0 and 255.
---
---```lua
---assert(qlua.fp8.decode(0x7e) == 448)
---```
---@param code integer the code, 0 to 255
---@return number # its value; NaN for 0x7f and 0xff
function qlua.fp8.decode(code) end

---Opens a device and says what it is.
---
---Raises when a GPU was named and there is none.
---
---```lua
---assert(qlua.fp8.device("cpu") == "the CPU")
---```
---@param name string `auto`, `cpu`, `cuda` or `cuda:N`
---@return string # a description; for `auto` without a GPU also the reason
function qlua.fp8.device(name) end

---The largest magnitudes of a BF16, F16 or F32 tensor.
---
---Raises when rows or blocks are asked of a tensor that is not two-dimensional, or the dtype is another.
---
---```lua
---assert(qlua.fp8.amax(qlua.tensor.from_list{ 1, -3 }):tolist()[1] == 3)
---```
---@param tensor qlua.Tensor the values
---@param options? qlua.fp8.amax.Options `granularity`, `device`
---@return qlua.Tensor # F32 of shape [], [out, 1] or [ceil(out / 128), ceil(in / 128)]
function qlua.fp8.amax(tensor, options) end

---Makes E4M3 codes of a BF16, F16 or F32 tensor.
---
---Raises when the dtype has no FP8 form, the tensor holds NaN or infinity, or the scales do not fit.
---
---```lua
---local codes, scales = qlua.fp8.quantize(qlua.tensor.from_list{ 1, -3 })
---assert(codes.dtype == "F8_E4M3" and math.abs(scales:tolist()[1] - 3 / 448) < 1e-9)
---```
---@param tensor qlua.Tensor the values
---@param options? qlua.fp8.quantize.Options `granularity`, `rule`, `rounding`, `scales`, `device`
---@return qlua.Tensor # the codes, F8_E4M3 of the same shape
---@return qlua.Tensor # the scales, F32
function qlua.fp8.quantize(tensor, options) end

---The values that codes and scales stand for: code × scale in F32, then rounded.
---
---Raises when the scales do not fit the codes, or the codes are not F8_E4M3.
---
---```lua
---local codes, scales = qlua.fp8.quantize(qlua.tensor.from_list{ 448, 1 })
---assert(qlua.fp8.dequantize(codes, scales):tolist()[2] == 1)
---```
---@param codes qlua.Tensor F8_E4M3 codes
---@param scales qlua.Tensor one value, one a row, or one a block of 128×128 or of `block_size`
---@param options? qlua.fp8.dequantize.Options `dtype`, `block_size`, `device`
---@return qlua.Tensor # the values
function qlua.fp8.dequantize(codes, scales, options) end

---What quantising a BF16, F16 or F32 tensor does to its values.
---
---Raises when the dtype has no FP8 form, the tensor holds NaN or infinity, or the scales do not fit.
---
---```lua
---assert(qlua.fp8.error(qlua.tensor.from_list{ 448, 1 }).mse == 0)
---```
---@param tensor qlua.Tensor the values
---@param options? qlua.fp8.error.Options `granularity`, `rule`, `rounding`, `scales`, `device`
---@return qlua.QuantisationError # the error
function qlua.fp8.error(tensor, options) end

---Options of qlua.fs.write.
---@class qlua.fs.write.Options
---@field overwrite? boolean whether to replace a file that is there (default: `false`)
---@field parents? boolean whether to make missing directories (default: `false`)
---@field [`string`] "there is no such option"

---Options of qlua.fs.check_place.
---@class qlua.fs.check_place.Options
---@field overwrite? boolean whether to replace a file that is there (default: `false`)
---@field [`string`] "there is no such option"

---Files and paths. Lists are sorted, files are written whole or not at all, nothing is removed.
---@class qlua.fs
qlua.fs = {}

---Whether there is something at `path`; a broken link is nothing.
---
---```lua
---assert(not qlua.fs.exists("missing.json"))
---```
---@param path string relative to the current directory, or absolute
---@return boolean # true for a file or directory
function qlua.fs.exists(path) end

---Whether `path` is a directory, or a link to one.
---
---```lua
---assert(qlua.fs.is_dir("."))
---```
---@param path string relative to the current directory, or absolute
---@return boolean # true for a directory
function qlua.fs.is_dir(path) end

---The names in a directory, sorted byte by byte, without `.` and `..`.
---
---Raises when `path` is no directory or cannot be read.
---
---```lua
---assert(#qlua.fs.list(".") == 0)
---```
---@param path string relative to the current directory, or absolute
---@return string[] # names without the directory
function qlua.fs.list(path) end

---The files and directories that a pattern matches, sorted byte by byte.
---
---Raises when the pattern does not parse.
---
---Raises when a directory cannot be read.
---
---```lua
---assert(#qlua.fs.glob("*.json") == 0)
---```
---@param pattern string `*` and `?` match within a name, `[ab]` a set, `**` any number of directories, links to some not counted
---@return string[] # paths; empty when nothing matches
function qlua.fs.glob(pattern) end

---The content of a file, as it is.
---
---Raises when the file cannot be read, is no regular file, or is larger than 4 GiB.
---
---```lua
---qlua.fs.write("note.txt", "hello")
---assert(qlua.fs.read("note.txt") == "hello")
---```
---@param path string relative to the current directory, or absolute
---@return string # all bytes
function qlua.fs.read(path) end

---Writes a file: whole or not at all. Only a regular file is replaced, and keeps its mode; of a link, what it leads to.
---
---Raises when the file is there already and `overwrite` is not set.
---
---Raises when the file cannot be written.
---
---```lua
---qlua.fs.write("a.txt", "one")
---assert(not pcall(qlua.fs.write, "a.txt", "two"))
---qlua.fs.write("a.txt", "two", { overwrite = true })
---```
---@param path string relative to the current directory, or absolute
---@param content string all bytes
---@param options? qlua.fs.write.Options `overwrite`, `parents`
function qlua.fs.write(path, content, options) end

---Raises where `write` would, and writes nothing: for what takes long to make.
---
---Raises when the file is there already and `overwrite` is not set.
---
---Raises when the file could not be written.
---
---```lua
---qlua.fs.check_place("a.txt")
---assert(not qlua.fs.exists("a.txt"))
---```
---@param path string relative to the current directory, or absolute
---@param options? qlua.fs.check_place.Options `overwrite`
function qlua.fs.check_place(path, options) end

---Joins parts of a path; a part that begins with `/` begins anew.
---
---```lua
---assert(qlua.fs.join("models", "qwen", "config.json") == "models/qwen/config.json")
---```
---@param first string the first part
---@param ... string further parts
---@return string # the path
function qlua.fs.join(first, ...) end

---The last part of a path; a trailing `/` does not count.
---
---```lua
---assert(qlua.fs.basename("models/qwen/") == "qwen")
---```
---@param path string relative to the current directory, or absolute
---@return string # the name; empty for `/` and `..`
function qlua.fs.basename(path) end

---A path without its last part.
---
---```lua
---assert(qlua.fs.dirname("models/qwen") == "models")
---assert(qlua.fs.dirname("a") == ".")
---```
---@param path string relative to the current directory, or absolute
---@return string # the directory; `.` where the path has one part only
function qlua.fs.dirname(path) end

---Options of qlua.json.read.
---@class qlua.json.read.Options
---@field seal? boolean whether a seal, as `write` makes it, has to be that of the file (default: `false`)
---@field [`string`] "there is no such option"

---Options of qlua.json.encode.
---@class qlua.json.encode.Options
---@field allow_nan? boolean whether to write NaN and infinities as Python does (default: `false`)
---@field indent? integer spaces per level (default: all on one line)
---@field [`string`] "there is no such option"

---Options of qlua.json.write.
---@class qlua.json.write.Options
---@field allow_nan? boolean whether to write NaN and infinities as Python does (default: `false`)
---@field indent? integer spaces per level (default: `2`)
---@field overwrite? boolean whether to replace a file that is there (default: `false`)
---@field seal? boolean whether the last entry of the object is `seal`, a hash of all before it, which tells readers of qlua whether the file was changed since (default: `false`)
---@field [`string`] "there is no such option"

---JSON to Lua tables and back. A decoded object remembers the order of its keys: `pairs` and `encode` follow it. Integers stay integers; null is `qlua.json.null`, which is not nil and counts as true.
---@class qlua.json
---@field null qlua.Null JSON's null; compare with `==`.
qlua.json = {}

---Reads JSON text. The bare tokens `NaN`, `Infinity` and `-Infinity`, which Python writes, are accepted. Integers beyond 64 bits become floats.
---
---Raises when the text is no JSON; the message names line and column.
---
---```lua
---local t = qlua.json.decode('{"b": [1, null], "a": 2.5}')
---assert(t.b[1] == 1 and t.b[2] == qlua.json.null and t.a == 2.5)
---```
---@param text string JSON
---@return any # a table, string, number, boolean or `qlua.json.null`
function qlua.json.decode(text) end

---Reads a JSON file, as `decode` does.
---
---Raises when the file cannot be read, or is no JSON.
---
---Raises when `seal` is set, and the file was changed after it was sealed.
---
---```lua
---qlua.fs.write("a.json", "[1, 2]")
---assert(#qlua.json.read("a.json") == 2)
---```
---@param path string the file
---@param options? qlua.json.read.Options `seal`
---@return any # as for `decode`
function qlua.json.read(path, options) end

---Writes a value as JSON text, the same text for the same value. Sequences become arrays, an empty table becomes `[]` (see `object`). Keys of plain tables are sorted; those of decoded objects keep their order.
---
---Raises when the value holds a function, a handle, a mixed table, text that is not UTF-8, or itself.
---
---Raises when a number is not finite and `allow_nan` is not set.
---
---```lua
---assert(qlua.json.encode{ b = 1, a = { 1.0, true } } == '{"a":[1.0,true],"b":1}')
---```
---@param value any a table, string, number, boolean or `qlua.json.null`
---@param options? qlua.json.encode.Options `allow_nan`, `indent`
---@return string # JSON without a final line break
function qlua.json.encode(value, options) end

---Writes a value as a JSON file, whole or not at all, with a final line break.
---
---Raises when the value cannot be encoded, or the file cannot be written.
---
---Raises when `seal` is set, and the value is no object with keys, or all on one line.
---
---```lua
---qlua.json.write("b.json", { layers = { "a", "b" } })
---```
---@param path string the file
---@param value any as for `encode`
---@param options? qlua.json.write.Options `allow_nan`, `indent`, `overwrite`, `seal`
function qlua.json.write(path, value, options) end

---Marks a table as an object, so that it is written as `{}` even when it is empty.
---
---Raises when the table has a metatable of its own.
---
---```lua
---assert(qlua.json.encode(qlua.json.object{}) == "{}")
---```
---@param table table a table whose keys are strings
---@return table # the same table
function qlua.json.object(table) end

---JSON's null; the only value of its kind.
---@class qlua.Null
local Null = {}

---Messages for people, on standard error, so that standard output stays for results. With values after the message, it is a format as for `string.format`.
---@class qlua.log
qlua.log = {}

---Says what helps to find a mistake; only with `qlua -v`.
---
---```lua
---qlua.log.debug("%d groups", 230)
---```
---@param message string the message, or a format
---@param ... any values for the format
function qlua.log.debug(message, ...) end

---Says what is going on; not with `qlua -q`.
---
---```lua
---qlua.log.info("writing %s", "top10")
---```
---@param message string the message, or a format
---@param ... any values for the format
function qlua.log.info(message, ...) end

---Says what may be wrong.
---
---```lua
---qlua.log.warn("no layer matches the glob")
---```
---@param message string the message, or a format
---@param ... any values for the format
function qlua.log.warn(message, ...) end

---How far two manifests agree on the order of the groups.
---@class qlua.Correlation
---@field groups integer the number of groups that both scored
---@field spearman? number Spearman's rank correlation, -1 to 1; nil when one manifest has only ties
---@field kendall? number Kendall's tau-b, -1 to 1; nil when one manifest has only ties

---A recipe group: modules that share one decision.
---@class qlua.Group
---@field name string the name of its first member, in the manifest's spelling
---@field key string the key as published, with `.quant_recipe`
---@field members string[] the modules that share the decision, in model order
---@field tower string `language`, `vision`, `merger`, `head` or `other`
---@field block? integer the block's number, counted from 0; nil for a group that is in no block
---@field kind string the last part of the name, such as `o_proj`
---@field parameters? integer the number of weights of all members; nil when no cost is a usable number
---@field bytes? integer the size of these weights in BF16, without scales and biases; nil when no cost is a usable number
---@field bits number the effective bits of its first format other than `NONE`; 16 without one
---@field score number how much the model suffers when it is quantised; higher is worse
---@field is_candidate boolean whether it has a format other than `NONE`
---@field is_scored boolean whether scoring exercised it: false for a score of exactly 0
---@field formats string[] the formats that were tried
---@field scores number[] the score of each format
---@field costs number[] the cost of each format, in weights of 16 bits

---Options of qlua.manifest.combine.
---@class qlua.manifest.combine.Options
---@field weights? number[] a weight above 0 for each (default: all the same)
---@field normalise? "median"|"none" `median` divides each manifest's scores by their median over the groups that all scored, since the unit of a score depends on the run (default: `"median"`)
---@field path? string what it is called; nothing is written (default: `"combined_quant_manifest.json"`)
---@field [`string`] "there is no such option"

---Options of qlua.manifest.from_weights.
---@class qlua.manifest.from_weights.Options
---@field formats? ("tensor"|"channel"|"block")[] the scales to try: one for a tensor, each row, or each 128×128 block (default: all three)
---@field threads? integer threads that read, convert, hash, check and write; the bytes do not depend on it. The first call that says it decides for what hashes and checks in the whole process (default: all cores)
---@field overwrite? boolean replace an existing file (default: `false`)
---@field device? string `cpu`, `cuda` (every GPU), `cuda:N`, or `auto`: GPUs where there are some; the bytes are the same (default: `"cpu"`)
---@field [`string`] "there is no such option"

---Options of Manifest:ranking.
---@class qlua.Manifest.ranking.Options
---@field order? "ascending"|"descending" which end comes first: ascending has the least sensitive group first (default: `"ascending"`)
---@field by? fun(group: qlua.Group): number an order of your own: gives the number that a group is ranked by, the lowest first when ascending. Plans, budgets and frontiers keep to the manifest's scores (default: the score)
---@field include? string|string[]|(fun(group: qlua.Group): any) only these groups. A glob chooses by a group's own name or any member's; an empty list means all
---@field exclude? string|string[]|(fun(group: qlua.Group): any) leaves these groups out. A glob chooses by a group's own name or by all of its members
---@field where? fun(group: qlua.Group): any only groups for which it returns true; asked after `include` and `exclude`
---@field unscored? boolean whether groups that were never scored are ranked too (default: `false`)
---@field [`string`] "there is no such option"

---Sensitivity manifests: how much each recipe group suffers, and rankings of them.
---@class qlua.manifest
qlua.manifest = {}

---Opens a sensitivity manifest of any published version.
---
---Raises when the file cannot be read or is no sensitivity manifest.
---
---```lua
---local manifest = qlua.manifest.open(qlua.checkpoint.demo("demo").manifest)
---assert(#manifest.groups > 0)
---```
---@param path string the `*_quant_manifest.json`
---@return qlua.Manifest # the manifest
function qlua.manifest.open(path) end

---The weighted mean of several manifests of one model: each group's score is averaged over the manifests that scored it. Groups, names and layers are those of the first; an infinite or NaN score stays one.
---
---Raises when the manifests are not of one model, or weights do not fit.
---
---```lua
---local manifest = qlua.manifest.open(qlua.checkpoint.demo("demo").manifest)
---local mean = qlua.manifest.combine({ manifest, manifest }, { weights = { 2, 1 } })
---assert(#mean.groups == #manifest.groups)
---```
---@param manifests qlua.Manifest[] two or more, the fullest first
---@param options? qlua.manifest.combine.Options `weights`, `normalise`, `path`
---@return qlua.Manifest # the mean
function qlua.manifest.combine(manifests, options) end

---How far two manifests of one model agree on the order of the groups.
---
---Raises when fewer than two groups were scored in both.
---
---```lua
---local manifest = qlua.manifest.open(qlua.checkpoint.demo("demo").manifest)
---assert(qlua.manifest.correlation(manifest, manifest).kendall == 1)
---```
---@param a qlua.Manifest a manifest
---@param b qlua.Manifest another
---@return qlua.Correlation # rank correlations
function qlua.manifest.correlation(a, b) end

---Scores every recipe group by what quantisation does to its weights, and writes that as a manifest. No model is run: a score is the sum of squared errors, and the manifest's method is `weight_error`.
---
---Raises when the checkpoint is quantised already, has no linear layer, or holds NaN or infinite weights.
---
---Raises when the file exists, or the device cannot be used.
---
---```lua
---local model = qlua.checkpoint.open(qlua.checkpoint.demo("demo").model)
---local manifest = qlua.manifest.from_weights(model, "weights_quant_manifest.json")
---assert(manifest.method == "weight_error")
---```
---@param model qlua.Checkpoint the base checkpoint
---@param path string where the manifest goes
---@param options? qlua.manifest.from_weights.Options `formats`, `threads`, `overwrite`, `device`
---@return qlua.Manifest # the manifest
function qlua.manifest.from_weights(model, path, options) end

---An opened sensitivity manifest.
---@class qlua.Manifest
---@field path string where it was read from
---@field text string the file as it was read, byte for byte
---@field version integer the version of its schema, 0 to 4
---@field scheme_name string|nil the name of the scheme that was searched
---@field model_id string|nil the model that was scored
---@field method string|nil how it was scored, such as `gradient`
---@field effective_bits number|nil the effective bits that the search reached, by ModelOpt's cost model
---@field score number|nil the summed score that the search reached
---@field has_amax boolean whether it carries amax values that input scales can be made from
---@field layers string[] every quantisable module; never a selection
---@field groups qlua.Group[] all recipe groups in model order
local Manifest = {}

---Looks a recipe group up.
---
---```lua
---local manifest = qlua.manifest.open(qlua.checkpoint.demo("demo").manifest)
---assert(manifest:group("nothing") == nil)
---```
---@param name string its name, with or without `.quant_recipe`
---@return qlua.Group|nil # the group, or nil
function Manifest:group(name) end

---The largest absolute input of a module that calibration saw.
---
---```lua
---local manifest = qlua.manifest.open(qlua.checkpoint.demo("demo").manifest)
---local group = manifest.groups[1]
---assert(manifest:input_amax(group.members[1]) ~= 0)
---```
---@param module string the module's name, in the manifest's spelling
---@return number|nil # the amax, or nil where the manifest carries none
function Manifest:input_amax(module) end

---Ranks the candidates by their score. Groups that only have the format `NONE` are no candidates; groups whose score is exactly 0 were never scored and are left out unless `unscored` asks for them.
---
---Raises when a glob matches nothing.
---
---Raises when globs of `exclude` match only some members of a group, which loaders fuse: the error says which.
---
---Raises when nothing is left to rank, or `by` gives no number.
---
---```lua
---local manifest = qlua.manifest.open(qlua.checkpoint.demo("demo").manifest)
---local ranking = manifest:ranking{ include = "*language_model*", where = function(g) return g.block ~= 0 end }
---assert(#ranking > 0)
---local largest = manifest:ranking{ by = function(g) return g.parameters end, order = "descending" }
---assert(largest.groups[1].parameters >= largest.groups[2].parameters)
---```
---@param options? qlua.Manifest.ranking.Options `order`, `by`, `include`, `exclude`, `where`, `unscored`
---@return qlua.Ranking # the ranking
function Manifest:ranking(options) end

---Recipe groups in order of sensitivity.
---@class qlua.Ranking
---@field order string `ascending` or `descending`
---@field groups qlua.Group[] the ranked groups in order
---@field unscored string[] candidates that were never scored (score exactly 0), ranked or not
---@field not_candidates string[] groups that only have the format `NONE`; never ranked
---@field not_finite string[] ranked groups with an infinite or NaN score; ranked as the most sensitive
---@field negative string[] ranked groups with a score below 0, which no scoring of AutoQuant gives; ranked as they are
---@operator len: integer
local Ranking = {}

---Selects the first groups in this ranking's own order.
---
---Raises when the percentage is not above 0 and at most 100, or has more than three decimals.
---
---```lua
---local manifest = qlua.manifest.open(qlua.checkpoint.demo("demo").manifest)
---local ranking = manifest:ranking{ order = "descending" }
---assert(ranking:first(10).names[1] == ranking.groups[1].name)
---```
---@param percent number how much of the ranked groups; k = max(1, ceil(percent × N / 100))
---@return qlua.Selection # the selection
function Ranking:first(percent) end

---Selects the least sensitive groups, whatever the order.
---
---Raises when the percentage is not above 0 and at most 100, or has more than three decimals.
---
---```lua
---local manifest = qlua.manifest.open(qlua.checkpoint.demo("demo").manifest)
---assert(#manifest:ranking():lowest(100) == #manifest:ranking())
---```
---@param percent number how much of the ranked groups; k = max(1, ceil(percent × N / 100))
---@return qlua.Selection # the selection
function Ranking:lowest(percent) end

---Selects the most sensitive groups, whatever the order.
---
---Raises when the percentage is not above 0 and at most 100, or has more than three decimals.
---
---```lua
---local manifest = qlua.manifest.open(qlua.checkpoint.demo("demo").manifest)
---assert(#manifest:ranking():highest(0.1) == 1)
---```
---@param percent number how much of the ranked groups; k = max(1, ceil(percent × N / 100))
---@return qlua.Selection # the selection
function Ranking:highest(percent) end

---Selects ranked groups by name or by what they are. Globs choose a group by its own name (that of its first member, which stands for all) or by all of its members; a predicate sees whole groups.
---
---Raises when a glob matches nothing that is ranked.
---
---Raises when globs match only some members of a group, which loaders fuse: the error says which.
---
---```lua
---local manifest = qlua.manifest.open(qlua.checkpoint.demo("demo").manifest)
---local ranking = manifest:ranking()
---local mlp = ranking:select("*.mlp.*")
---local early = ranking:select(function(group) return group.tower == "language" and group.block < 2 end)
---assert(#(mlp - early) < #mlp and #(mlp & early) + #(mlp - early) == #mlp)
---```
---@param what string|string[]|(fun(group: qlua.Group): any) a glob, a list of globs, or a predicate; one that selects nothing is named in a warning
---@return qlua.Selection # the selection; it may be empty
function Ranking:select(what) end

---The recipe groups that a scheme stores in FP8. Selections combine as sets do, those of two manifests of one model too.
---@class qlua.Selection
---@field percent number the percentage that was asked for, or the share of the ranked groups that is selected
---@field order string the order of its ranking
---@field total integer the number of ranked groups
---@field names string[] the selected groups in ranking order
---@field dropped string[] the ranked groups that are not selected, in ranking order
---@field groups qlua.Group[] the selected groups in ranking order
---@operator len: integer
---@operator bor(qlua.Selection): qlua.Selection
---@operator band(qlua.Selection): qlua.Selection
---@operator sub(qlua.Selection): qlua.Selection
local Selection = {}

---The selection that loses least within a budget.
---@class qlua.Fit
---@field selection qlua.Selection the groups that go to FP8; empty when the budget needs none
---@field bytes integer sum of all tensor bytes
---@field effective_bits? number by ModelOpt's cost model; nil when a cost is no number
---@field score? number the summed score of what is in FP8; nil when it is not finite
---@field gap number how far the score may lie above the least possible one, as a share of it; 0 when it is proven to be the least
---@field floor number the smallest budget that can be met, in the budget's unit
---@field ceiling number the budget from which on nothing needs FP8, in the budget's unit
---@field is_above_ceiling boolean whether the budget is at the ceiling or above

---A supported point of the Pareto frontier, one on its lower convex hull: no selection of its size loses less.
---@class qlua.HullPoint
---@field bytes integer sum of all tensor bytes
---@field effective_bits number by ModelOpt's cost model
---@field score number the summed score of what is in FP8
---@field groups integer how many groups are in FP8
---@field added string[] the groups that were not in FP8 at the point before

---Options of qlua.plan.solve.
---@class qlua.plan.solve.Options
---@field effective_bits? number the budget, by ModelOpt's cost model: Σ cost ≤ Σ cost unquantised × bits / 16, over all groups
---@field bytes? integer the budget, as the sum of all tensor bytes
---@field always? qlua.Selection ranked groups that go to FP8 whatever they lose
---@field [`string`] "there is no such option"

---Options of qlua.plan.cover.
---@class qlua.plan.cover.Options
---@field by? "parameters"|"bytes"|"score" the number of weights, their bytes in the base checkpoint, or the manifest's score (default: `"parameters"`)
---@field [`string`] "there is no such option"

---Options of qlua.plan.frontier.
---@class qlua.plan.frontier.Options
---@field by? "effective_bits"|"bytes" what the size is counted in (default: `"effective_bits"`)
---@field [`string`] "there is no such option"

---What schemes will be before a byte is written, and which groups fit a budget.
---@class qlua.plan
qlua.plan = {}

---The groups of a ranking that lose least within a budget: an exact 0/1 choice for each group, the same every time. What is not ranked stays in BF16, and so does a group whose score is not finite.
---
---Raises when there is not exactly one budget, or it is below the floor, which the error names.
---
---```lua
---local family = qlua.export.family{ manifest = qlua.checkpoint.demo("demo").manifest }
---local ranking = family.manifest:ranking()
---local fit = qlua.plan.solve(family, ranking, { effective_bits = 11 })
---assert(fit.effective_bits <= 11 and fit.gap == 0)
---```
---@param family qlua.Family the sweep, whose checkpoint or manifest says what groups cost
---@param ranking qlua.Ranking the groups to choose from
---@param options? qlua.plan.solve.Options `effective_bits`, `bytes`, `always`
---@return qlua.Fit # the selection and its figures
function qlua.plan.solve(family, ranking, options) end

---Selects the first groups in a ranking's order that together make up a share of it by weight instead of by count. Only what really goes to FP8 counts.
---
---Raises when the percentage is not above 0 and at most 100, or has more than three decimals.
---
---Raises when `by` is "score" and a score is negative, infinite or NaN.
---
---```lua
---local family = qlua.export.family{ manifest = qlua.checkpoint.demo("demo").manifest }
---local ranking = family.manifest:ranking()
---assert(#qlua.plan.cover(family, ranking, 50) > 0)
---```
---@param family qlua.Family the sweep, whose checkpoint or manifest says what groups weigh
---@param ranking qlua.Ranking the groups in order
---@param percent number the share; the last group reaches it
---@param options? qlua.plan.cover.Options `by`
---@return qlua.Selection # the selection
function qlua.plan.cover(family, ranking, percent, options) end

---The supported points of a ranking's Pareto frontier, which make up its lower convex hull, from nothing in FP8 to all that has a finite score. Each adds groups to the one before and loses the least that its size allows. Between two neighbours nothing lies below the line through them; what is best there, `solve` finds.
---
---```lua
---local family = qlua.export.family{ manifest = qlua.checkpoint.demo("demo").manifest }
---local ranking = family.manifest:ranking()
---local hull = qlua.plan.frontier(family, ranking)
---assert(hull.points[1].groups == 0 and #hull:selection(hull.knee) > 0)
---```
---@param family qlua.Family the sweep, whose checkpoint or manifest says what groups cost
---@param ranking qlua.Ranking the groups to choose from
---@param options? qlua.plan.frontier.Options `by`
---@return qlua.Hull # the hull
function qlua.plan.frontier(family, ranking, options) end

---The lower convex hull of a Pareto frontier: its supported points.
---@class qlua.Hull
---@field points qlua.HullPoint[] the points, the largest size first
---@field knee integer|nil which point lies farthest below the line from the first to the last, with bytes and score scaled to 1, as reports name the knee of a family; nil where none lies below it, as when there are fewer than three
---@operator len: integer
local Hull = {}

---The groups that are in FP8 at a point.
---
---Raises when there is no such point.
---
---```lua
---local family = qlua.export.family{ manifest = qlua.checkpoint.demo("demo").manifest }
---local ranking = family.manifest:ranking()
---local hull = qlua.plan.frontier(family, ranking)
---assert(#hull:selection(3) == hull.points[3].groups)
---```
---@param point integer which one, from 1 on
---@return qlua.Selection # the selection
function Hull:selection(point) end

---Options of qlua.policy.load.
---@class qlua.policy.load.Options
---@field memory? integer the most memory that Lua takes for it (default: `536870912`)
---@field seconds? number the longest that it may take (default: `10.0`)
---@field [`string`] "there is no such option"

---Selections by files that somebody else wrote. Such a file is a text chunk that returns a function of the ranked groups and of options; it sees plain data and pure functions (`qlua.sorted`, `qlua.json`, `qlua.fp8`, `qlua.report` as far as they take no files and no weights), and reaches no file.
---@class qlua.policy
qlua.policy = {}

---Reads a policy. It runs when it is asked, each time in a process of its own that is killed when its time is over.
---
---Raises when the file cannot be read.
---
---Raises when `memory` is below 1 MiB, or `seconds` not above 0 and at most 86400.
---
---```lua
---qlua.fs.write("early.lua", [[
---return function(groups, options)
---  return function(group) return group.block and group.block < options.blocks end
---end]])
---local policy = qlua.policy.load("early.lua")
---local ranking = qlua.manifest.open(qlua.checkpoint.demo("demo").manifest):ranking()
---assert(policy.path == "early.lua")
---```
---@param path string a file of Lua text: `return function(groups, options) … end`
---@param options? qlua.policy.load.Options `memory`, `seconds`
---@return qlua.Policy # the policy
function qlua.policy.load(path, options) end

---A policy that somebody else wrote.
---@class qlua.Policy
---@field path string where it was read from
local Policy = {}

---Asks the policy. Its function gets the ranked groups in order, each a `Group`, and the options; it gives a glob, a list of names or globs, a list of groups, or a predicate of groups.
---
---Raises when the policy raises, or uses up its time or memory.
---
---Raises when it chooses what is not ranked.
---
---```lua
---qlua.fs.write("early.lua", [[
---return function(groups, options)
---  return function(group) return group.block and group.block < options.blocks end
---end]])
---local policy = qlua.policy.load("early.lua")
---local ranking = qlua.manifest.open(qlua.checkpoint.demo("demo").manifest):ranking()
---local selection = policy:select(ranking, { blocks = 1 })
---assert(#selection > 0 and #selection < #ranking)
---```
---@param ranking qlua.Ranking the groups to choose from
---@param options? table what it is told: anything that JSON can hold
---@return qlua.Selection # the selection; it may be empty
function Policy:select(ranking, options) end

---A column of a table.
---@class qlua.Column
---@field key string the key of the rows that it shows
---@field title? string its heading (default: the key)
---@field unit? "bytes"|"bits"|"weights"|"score" `bytes` shows a number as kB, MB or GB, `bits` with three decimals, `weights` as k, M or G, `score` with three digits: `0.133`, `1.24e-5`; without it whole numbers are shown in full, others with six digits
---@field decimals? integer digits after the point of every number in the column, from 0 to 17; whole bytes and weights stay whole
---@field main? boolean whether it stays, before others, where a terminal has no room for all
---@field [`string`] "there is no such key"

---Options of qlua.report.number.
---@class qlua.report.number.Options
---@field decimals? integer digits after the point, from 0 to 17
---@field [`string`] "there is no such option"

---Options of qlua.report.table.
---@class qlua.report.table.Options
---@field format? "markdown"|"text"|"terminal" a Markdown table, or columns of plain text; `terminal` is plain text with as many columns as the terminal has room for, a last one of text wrapped, and Markdown where standard output is none (default: `"markdown"`)
---@field [`string`] "there is no such option"

---Options of qlua.report.per_layer.
---@class qlua.report.per_layer.Options
---@field format? "markdown"|"json" the format (default: `"markdown"`)
---@field [`string`] "there is no such option"

---Tables and reports for people.
---@class qlua.report
qlua.report = {}

---A size with its unit: `7.5 MB`, `4.13 GB` (decimal units).
---
---```lua
---assert(qlua.report.bytes(7509245952) == "7.51 GB")
---```
---@param count integer the size
---@return string # the text
function qlua.report.bytes(count) end

---So many of something: `1 group`, `2 groups`.
---
---```lua
---assert(qlua.report.count(1, "group") == "1 group")
---```
---@param count integer how many
---@param noun string what, in the singular
---@return string # the text
function qlua.report.count(count, noun) end

---A number as tables show it: whole ones in full, others with six digits at most, and `–` for nil.
---
---Raises when `decimals` is not from 0 to 17.
---
---```lua
---assert(qlua.report.number(2 / 3, { decimals = 2 }) == "0.67" and qlua.report.number(nil) == "–")
---```
---@param number? number the number
---@param options? qlua.report.number.Options `decimals`
---@return string # the text
function qlua.report.number(number, options) end

---Rows as a table with aligned columns; columns of numbers stand right, and a number that is missing is `–`.
---
---Raises when `decimals` is not from 0 to 17, or a cell is a table or a function.
---
---```lua
---print(qlua.report.table({ { name = "top10", bytes = 4e9 // 1 | 0 } }, { { key = "name" }, { key = "bytes", unit = "bytes" } }))
---```
---@param rows table[] the rows
---@param columns qlua.Column[] the columns, from left to right
---@param options? qlua.report.table.Options `format`
---@return string # the lines of the table
function qlua.report.table(rows, columns, options) end

---The per-layer sensitivity report, as it lies in every scheme directory.
---
---```lua
---local demo = qlua.checkpoint.demo("demo")
---assert(#qlua.report.per_layer(qlua.manifest.open(demo.manifest)) > 0)
---```
---@param manifest qlua.Manifest the manifest
---@param options? qlua.report.per_layer.Options `format`
---@return string # the report
function qlua.report.per_layer(manifest, options) end

---What a tensor's values look like; minimum, maximum, mean and std are over the finite ones.
---@class qlua.Stats
---@field elements integer number of elements
---@field min number smallest value
---@field max number largest value
---@field mean number mean
---@field std number population standard deviation
---@field amax number largest magnitude; NaN above infinity above all else
---@field zeros integer elements that are +0 or -0
---@field nan integer elements that are NaN
---@field infinite integer elements that are infinite

---Finite values counted in bins of equal width.
---@class qlua.Histogram
---@field min number lower edge of the first bin
---@field max number upper edge of the last bin, which includes it
---@field width number width of a bin
---@field counts integer[] values per bin

---Options of qlua.tensor.from_list.
---@class qlua.tensor.from_list.Options
---@field dtype? "bf16"|"f16"|"f32"|"BF16"|"F16"|"F32" the element type; values are rounded to nearest even (default: `"f32"`)
---@field shape? integer[] sizes of the dimensions, outermost first (default: one dimension)
---@field [`string`] "there is no such option"

---Tensors: typed views over mapped files, or values made in a script.
---@class qlua.tensor
qlua.tensor = {}

---Makes a tensor from numbers.
---
---Raises when the shape does not hold as many elements.
---
---```lua
---local t = qlua.tensor.from_list({ 1, 2, 3, 4 }, { shape = { 2, 2 }, dtype = "bf16" })
---assert(t.dtype == "BF16" and t.shape[2] == 2)
---```
---@param values number[] the elements, row by row
---@param options? qlua.tensor.from_list.Options `dtype`, `shape`
---@return qlua.Tensor # the tensor
function qlua.tensor.from_list(values, options) end

---A dense row-major tensor. The data stays outside Lua; handles are cheap. What is computed from a file that was changed meanwhile is an error.
---@class qlua.Tensor
---@field dtype string the element type as in safetensors headers, such as `BF16`
---@field shape integer[] sizes of the dimensions, outermost first
---@field bytes integer size of the data
---@field elements integer number of elements
local Tensor = {}

---The largest magnitude.
---
---```lua
---assert(qlua.tensor.from_list{ 1, -3 }:amax() == 3)
---```
---@return number # NaN where there is a NaN, infinity where there is one
function Tensor:amax() end

---Minimum, maximum, mean, standard deviation and counts, in one pass.
---
---```lua
---assert(qlua.tensor.from_list{ 1, -3 }:stats().mean == -1)
---```
---@return qlua.Stats # the statistics
function Tensor:stats() end

---Counts the finite values in bins of equal width.
---
---Raises when the number of bins is 0 or above 1048576.
---
---```lua
---assert(qlua.tensor.from_list{ 0, 1, 1 }:histogram(2).counts[2] == 2)
---```
---@param bins? integer number of bins (default: `64`)
---@return qlua.Histogram # the histogram
function Tensor:histogram(bins) end

---The first elements as Lua numbers.
---
---```lua
---assert(qlua.tensor.from_list({ 5, 6, 7 }):tolist(2)[2] == 6)
---```
---@param limit? integer how many at most (default: `1000`)
---@return number[] # the elements, row by row
function Tensor:tolist(limit) end

---Some rows of the outermost dimension, without copying.
---
---Raises when the rows do not lie within the tensor, or it is a scalar.
---
---```lua
---assert(qlua.tensor.from_list{ 5, 6, 7 }:slice(2, 3):tolist()[1] == 6)
---```
---@param first integer the first row, counted from 1
---@param last integer the last row, included
---@return qlua.Tensor # the rows
function Tensor:slice(first, last) end

---The same values in another dtype, rounded to nearest even.
---
---Raises when there is no such dtype, or it is another that tensors cannot be cast to.
---
---```lua
---local t = qlua.tensor.from_list{ 1 }
---assert(t:cast(t.dtype) == t)
---assert(qlua.tensor.from_list{ 1.00390625 }:cast("bf16"):tolist()[1] == 1)
---```
---@param dtype string the element type: `bf16`, `f16`, `f32`, or the tensor's own; in either case
---@return qlua.Tensor # the values; shared when nothing changes
function Tensor:cast(dtype) end

---Whether dtype, shape and every byte are equal; the same as `==`.
---
---```lua
---local t = qlua.tensor.from_list{ 1 }
---assert(t:equal(qlua.tensor.from_list{ 1 }))
---```
---@param other qlua.Tensor the other tensor
---@return boolean # whether they are
function Tensor:equal(other) end

---Something that a loader rejects, or accepts and gets wrong.
---@class qlua.Problem
---@field code string the broken rule, a stable word; see `qlua.verify.codes`
---@field subject string the file, module or tensor at fault
---@field message string one sentence that says what is wrong
---@field hint string what to do about it

---Options of qlua.verify.directory.
---@class qlua.verify.directory.Options
---@field depth? "headers"|"full" `headers` takes milliseconds; `full` reads every file, compares hashes with those on record, and looks at every weight (default: `"full"`)
---@field base? string the checkpoint that it was made from: what is not quantised must be the same bit for bit, codes the exact encoding
---@field [`string`] "there is no such option"

---Checks of checkpoint directories against what loaders really accept.
---@class qlua.verify
---@field codes string[] every rule that is checked
qlua.verify = {}

---Checks a checkpoint directory of any origin.
---
---Raises when there is no such directory, or it cannot be read.
---
---```lua
---local demo = qlua.checkpoint.demo("demo")
---assert(#qlua.verify.directory(demo.model) == 0)
---```
---@param path string the directory
---@param options? qlua.verify.directory.Options `depth`, `base`
---@return qlua.Problem[] # what is wrong, in a fixed order; empty when nothing is. Rows of the code `not_checked` say what the checks know nothing of
function qlua.verify.directory(path, options) end

return qlua
