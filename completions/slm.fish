# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_slm_global_optspecs
    string join \n V/version verbose h/help
end

function __fish_slm_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_slm_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_slm_using_subcommand
    set -l cmd (__fish_slm_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c slm -n "__fish_slm_needs_command" -s V -l version -d 'Print the version'
complete -c slm -n "__fish_slm_needs_command" -l verbose -d 'With --version: what this binary was built for, and what it uses here'
complete -c slm -n "__fish_slm_needs_command" -s h -l help -d 'Print help'
complete -c slm -n "__fish_slm_needs_command" -f -a "run" -d 'Ask a model: classify, score, or generate text'
complete -c slm -n "__fish_slm_needs_command" -f -a "serve" -d 'Serve models to programs that speak Ollama\'s, OpenAI\'s, Anthropic\'s or System One\'s API'
complete -c slm -n "__fish_slm_needs_command" -f -a "ps" -d 'List the models that the running server holds in memory'
complete -c slm -n "__fish_slm_needs_command" -f -a "stop" -d 'Let the running server unload a model'
complete -c slm -n "__fish_slm_needs_command" -f -a "pull" -d 'Bring a model from a registry, an address or a file'
complete -c slm -n "__fish_slm_needs_command" -f -a "push" -d 'Bring a model to a registry'
complete -c slm -n "__fish_slm_needs_command" -f -a "list" -d 'List the models'
complete -c slm -n "__fish_slm_needs_command" -f -a "ls" -d 'List the models'
complete -c slm -n "__fish_slm_needs_command" -f -a "show" -d 'Show what a model is made of'
complete -c slm -n "__fish_slm_needs_command" -f -a "create" -d 'Make a model from a Modelfile'
complete -c slm -n "__fish_slm_needs_command" -f -a "rm" -d 'Remove models, and their blobs that no other model needs'
complete -c slm -n "__fish_slm_needs_command" -f -a "remove" -d 'Remove models, and their blobs that no other model needs'
complete -c slm -n "__fish_slm_needs_command" -f -a "cp" -d 'Give a model a second name; its blobs are shared'
complete -c slm -n "__fish_slm_needs_command" -f -a "copy" -d 'Give a model a second name; its blobs are shared'
complete -c slm -n "__fish_slm_needs_command" -f -a "verify" -d 'Hash what is stored and say what is damaged'
complete -c slm -n "__fish_slm_needs_command" -f -a "prune" -d 'Remove what no model needs: blobs without a model, old downloads, traces of processes that died'
complete -c slm -n "__fish_slm_needs_command" -f -a "eval" -d 'Measure a model on labelled data'
complete -c slm -n "__fish_slm_needs_command" -f -a "bench" -d 'Measure a model\'s speed on this machine'
complete -c slm -n "__fish_slm_needs_command" -f -a "doctor" -d 'Check this machine: processor, accelerators, threads, store, server, credentials and settings'
complete -c slm -n "__fish_slm_needs_command" -f -a "completions" -d 'Print a completion script for a shell'
complete -c slm -n "__fish_slm_needs_command" -f -a "man" -d 'Write the man pages into a folder'
complete -c slm -n "__fish_slm_needs_command" -f -a "engine"
complete -c slm -n "__fish_slm_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c slm -n "__fish_slm_using_subcommand run" -l choices -d 'Choose one of these labels, separated by commas' -r
complete -c slm -n "__fish_slm_using_subcommand run" -l format -d 'A JSON schema, `@FILE` with one, `json` for any object, or `none` for open text from a model that has a format' -r
complete -c slm -n "__fish_slm_using_subcommand run" -l grammar -d 'A grammar that the answer follows, in llguidance\'s Lark, or `@FILE` with one' -r
complete -c slm -n "__fish_slm_using_subcommand run" -l regex -d 'A regular expression that the whole answer matches' -r
complete -c slm -n "__fish_slm_using_subcommand run" -l system -d 'Instructions that come before the text, in place of the Modelfile\'s' -r
complete -c slm -n "__fish_slm_using_subcommand run" -l adapter -d 'A LoRA adapter in place of the model\'s own: a GGUF file, a model with adapters on the same base, or `none`; with `=SCALE` to apply it more or less. May be given several times' -r
complete -c slm -n "__fish_slm_using_subcommand run" -l jsonl -d 'Each line of standard input is a JSON object: read the text from FIELD (a name, or a pointer like /ticket/body), write the object back with `answer` added' -r
complete -c slm -n "__fish_slm_using_subcommand run" -l keep-going -d 'Go on behind a row that fails; `--keep-going=false` ends at the first' -r -f -a "true\t''
false\t''"
complete -c slm -n "__fish_slm_using_subcommand run" -l output -d 'With --lines or --jsonl: write to FILE, which must not have anything in it yet' -r -F
complete -c slm -n "__fish_slm_using_subcommand run" -l parallel -d 'Rows in flight at once; the default is 32 for answers that share batches and 4 for closed ones, scored one after the other while the next are made ready' -r
complete -c slm -n "__fish_slm_using_subcommand run" -l reading -d 'What the probability of an allowed answer is: `choices` is what decoding under the format draws from, `likelihood` that of its whole text, compared at last' -r -f -a "choices\t''
likelihood\t''"
complete -c slm -n "__fish_slm_using_subcommand run" -l truncate -d 'Keep the first N tokens of the text, and say how many were cut' -r
complete -c slm -n "__fish_slm_using_subcommand run" -l max-words -d 'Most words, as Unicode tells words' -r
complete -c slm -n "__fish_slm_using_subcommand run" -l max-sentences -d 'Most sentences, as Unicode tells sentences, `Dr.` and the like aside; a line break ends one' -r
complete -c slm -n "__fish_slm_using_subcommand run" -l matches -d 'A regular expression (Rust\'s syntax) that the whole answer must match, without the white space at its ends' -r
complete -c slm -n "__fish_slm_using_subcommand run" -l temperature -d 'Spread of the choice; 0 always takes the likeliest token' -r
complete -c slm -n "__fish_slm_using_subcommand run" -l seed -d 'Start of the random numbers' -r
complete -c slm -n "__fish_slm_using_subcommand run" -l top-k -d 'Keep the K likeliest tokens' -r
complete -c slm -n "__fish_slm_using_subcommand run" -l top-p -d 'Keep the likeliest tokens that together have this probability' -r
complete -c slm -n "__fish_slm_using_subcommand run" -l num-predict -d 'Most tokens to generate' -r
complete -c slm -n "__fish_slm_using_subcommand run" -l stop -d 'A text that ends the answer; may be given several times' -r
complete -c slm -n "__fish_slm_using_subcommand run" -l num-ctx -d 'Tokens of context' -r
complete -c slm -n "__fish_slm_using_subcommand run" -l num-thread -d 'Threads that compute [default: one for each core that slm is granted]' -r
complete -c slm -n "__fish_slm_using_subcommand run" -l num-gpu -d 'Layers on GPUs [default: as many as fit]' -r
complete -c slm -n "__fish_slm_using_subcommand run" -l device -d 'Devices that compute, by name or number, separated by commas; `none` is the processor alone' -r
complete -c slm -n "__fish_slm_using_subcommand run" -l main-gpu -d 'Of several GPUs, the one that holds small tensors' -r
complete -c slm -n "__fish_slm_using_subcommand run" -l kv-type -d 'Type of keys and values for generated text: f16, q8_0, q4_0 …; scored answers always have f16' -r
complete -c slm -n "__fish_slm_using_subcommand run" -l flash-attn -d 'Flash attention; auto is on wherever the model allows it' -r
complete -c slm -n "__fish_slm_using_subcommand run" -l num-batch -d 'Tokens of a decode of generated text and its prompts [default: 512]' -r
complete -c slm -n "__fish_slm_using_subcommand run" -l num-ubatch -d 'Tokens of a decode that are computed at once [default: 512]' -r
complete -c slm -n "__fish_slm_using_subcommand run" -l local -d 'Load the model in this process, even where a running `slm serve` has this store'
complete -c slm -n "__fish_slm_using_subcommand run" -l lines -d 'Each line of standard input is a text of its own'
complete -c slm -n "__fish_slm_using_subcommand run" -l resume -d 'Go on behind the last whole line of --output, after a kill for example; the input must be the same from its start on, and FILE.slm, which lies beside, must still be there'
complete -c slm -n "__fish_slm_using_subcommand run" -l overwrite -d 'Begin --output anew, whatever is in it'
complete -c slm -n "__fish_slm_using_subcommand run" -l json -d 'Write JSON: the answer with probabilities, token counts, timings and the evaluation id'
complete -c slm -n "__fish_slm_using_subcommand run" -l throughput -d 'Evaluate closed answers of several rows in one batch: more rows a second, but the last digits of a probability then depend on the rows beside it'
complete -c slm -n "__fish_slm_using_subcommand run" -l exact -d 'Evaluate every choice among the allowed answers, also those that can change no probability by more than 0.01'
complete -c slm -n "__fish_slm_using_subcommand run" -l dry-run -d 'Print the rendered prompt, its tokens and its segments instead of an answer; loads only the vocabulary'
complete -c slm -n "__fish_slm_using_subcommand run" -s v -l verbose -d 'Say on standard error what was loaded, and where tokens and time went'
complete -c slm -n "__fish_slm_using_subcommand run" -l retry -d 'Where a limit is broken, tell the model which and let it answer once more'
complete -c slm -n "__fish_slm_using_subcommand run" -l no-drafts -d 'Never guess ahead from what stands in the text already; shows what guessing gains'
complete -c slm -n "__fish_slm_using_subcommand run" -l no-mmap -d 'Read the weights into memory instead of mapping their file'
complete -c slm -n "__fish_slm_using_subcommand run" -l mlock -d 'Keep the weights in memory whatever else needs it'
complete -c slm -n "__fish_slm_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c slm -n "__fish_slm_using_subcommand serve" -l host -d 'Where to listen, `HOST:PORT` or `unix:PATH`; may be given several times' -r
complete -c slm -n "__fish_slm_using_subcommand serve" -l keepalive -d 'How long a model stays after its last request: `10m`, seconds, `0`, or `-1` for ever' -r
complete -c slm -n "__fish_slm_using_subcommand serve" -l num-ctx -d 'Tokens of context' -r
complete -c slm -n "__fish_slm_using_subcommand serve" -l num-thread -d 'Threads that compute [default: one for each core that slm is granted]' -r
complete -c slm -n "__fish_slm_using_subcommand serve" -l num-gpu -d 'Layers on GPUs [default: as many as fit]' -r
complete -c slm -n "__fish_slm_using_subcommand serve" -l device -d 'Devices that compute, by name or number, separated by commas; `none` is the processor alone' -r
complete -c slm -n "__fish_slm_using_subcommand serve" -l main-gpu -d 'Of several GPUs, the one that holds small tensors' -r
complete -c slm -n "__fish_slm_using_subcommand serve" -l kv-type -d 'Type of keys and values for generated text: f16, q8_0, q4_0 …; scored answers always have f16' -r
complete -c slm -n "__fish_slm_using_subcommand serve" -l flash-attn -d 'Flash attention; auto is on wherever the model allows it' -r
complete -c slm -n "__fish_slm_using_subcommand serve" -l num-batch -d 'Tokens of a decode of generated text and its prompts [default: 512]' -r
complete -c slm -n "__fish_slm_using_subcommand serve" -l num-ubatch -d 'Tokens of a decode that are computed at once [default: 512]' -r
complete -c slm -n "__fish_slm_using_subcommand serve" -l insecure-bind -d 'Listen to other machines without asking for a key'
complete -c slm -n "__fish_slm_using_subcommand serve" -l inference-only -d 'Answer requests, and let nobody change the store over the network'
complete -c slm -n "__fish_slm_using_subcommand serve" -l group-socket -d 'Let the group of a Unix socket speak to it too, and not its owner alone'
complete -c slm -n "__fish_slm_using_subcommand serve" -l no-mmap -d 'Read the weights into memory instead of mapping their file'
complete -c slm -n "__fish_slm_using_subcommand serve" -l mlock -d 'Keep the weights in memory whatever else needs it'
complete -c slm -n "__fish_slm_using_subcommand serve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c slm -n "__fish_slm_using_subcommand ps" -l json -d 'Write Ollama\'s /api/ps'
complete -c slm -n "__fish_slm_using_subcommand ps" -s h -l help -d 'Print help'
complete -c slm -n "__fish_slm_using_subcommand stop" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c slm -n "__fish_slm_using_subcommand pull" -l as -d 'Keep it under another name' -r
complete -c slm -n "__fish_slm_using_subcommand pull" -l streams -d 'Ranges to download at once [default: as many as make it faster]' -r
complete -c slm -n "__fish_slm_using_subcommand pull" -l insecure -d 'A host that may be spoken to without TLS; this machine may always' -r
complete -c slm -n "__fish_slm_using_subcommand pull" -l allow-host -d 'A host that a registry may lead to although its address is private, or ask for tokens' -r
complete -c slm -n "__fish_slm_using_subcommand pull" -l dry-run -d 'Say what would come and how large it is'
complete -c slm -n "__fish_slm_using_subcommand pull" -l json -d 'Write an event a line, in Ollama\'s words'
complete -c slm -n "__fish_slm_using_subcommand pull" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c slm -n "__fish_slm_using_subcommand push" -l as -d 'Push it under another name, `[HOST/]NAMESPACE/MODEL[:TAG]`; here it keeps its own' -r
complete -c slm -n "__fish_slm_using_subcommand push" -l insecure -d 'A host that may be spoken to without TLS; this machine may always' -r
complete -c slm -n "__fish_slm_using_subcommand push" -l allow-host -d 'A host that a registry may lead to although its address is private, or ask for tokens' -r
complete -c slm -n "__fish_slm_using_subcommand push" -l dry-run -d 'Say what would go and how large it is'
complete -c slm -n "__fish_slm_using_subcommand push" -l json -d 'Write an event a line, in Ollama\'s words'
complete -c slm -n "__fish_slm_using_subcommand push" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c slm -n "__fish_slm_using_subcommand list" -l json -d 'Write JSON'
complete -c slm -n "__fish_slm_using_subcommand list" -s h -l help -d 'Print help'
complete -c slm -n "__fish_slm_using_subcommand ls" -l json -d 'Write JSON'
complete -c slm -n "__fish_slm_using_subcommand ls" -s h -l help -d 'Print help'
complete -c slm -n "__fish_slm_using_subcommand show" -l modelfile -d 'Print it as a Modelfile'
complete -c slm -n "__fish_slm_using_subcommand show" -l json -d 'Write JSON'
complete -c slm -n "__fish_slm_using_subcommand show" -s h -l help -d 'Print help'
complete -c slm -n "__fish_slm_using_subcommand create" -s f -l file -d 'The Modelfile; `-` reads standard input' -r -F
complete -c slm -n "__fish_slm_using_subcommand create" -l json -d 'Write JSON'
complete -c slm -n "__fish_slm_using_subcommand create" -s h -l help -d 'Print help'
complete -c slm -n "__fish_slm_using_subcommand rm" -s y -l yes -d 'Remove what may be lost for ever without asking'
complete -c slm -n "__fish_slm_using_subcommand rm" -l json -d 'Write JSON'
complete -c slm -n "__fish_slm_using_subcommand rm" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c slm -n "__fish_slm_using_subcommand remove" -s y -l yes -d 'Remove what may be lost for ever without asking'
complete -c slm -n "__fish_slm_using_subcommand remove" -l json -d 'Write JSON'
complete -c slm -n "__fish_slm_using_subcommand remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c slm -n "__fish_slm_using_subcommand cp" -s y -l yes -d 'Replace a model that may be lost for ever without asking'
complete -c slm -n "__fish_slm_using_subcommand cp" -l json -d 'Write JSON'
complete -c slm -n "__fish_slm_using_subcommand cp" -s h -l help -d 'Print help'
complete -c slm -n "__fish_slm_using_subcommand copy" -s y -l yes -d 'Replace a model that may be lost for ever without asking'
complete -c slm -n "__fish_slm_using_subcommand copy" -l json -d 'Write JSON'
complete -c slm -n "__fish_slm_using_subcommand copy" -s h -l help -d 'Print help'
complete -c slm -n "__fish_slm_using_subcommand verify" -l json -d 'Write JSON'
complete -c slm -n "__fish_slm_using_subcommand verify" -s h -l help -d 'Print help'
complete -c slm -n "__fish_slm_using_subcommand prune" -l all -d 'Young blobs too, and weights that a manifest without any readable digest may have had'
complete -c slm -n "__fish_slm_using_subcommand prune" -l partial -d 'Every download that nobody is at, and Ollama\'s that are older than a day'
complete -c slm -n "__fish_slm_using_subcommand prune" -l dry-run -d 'Only say what would go'
complete -c slm -n "__fish_slm_using_subcommand prune" -l json -d 'Write JSON'
complete -c slm -n "__fish_slm_using_subcommand prune" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c slm -n "__fish_slm_using_subcommand eval" -l model -d 'Another model than the suite\'s' -r
complete -c slm -n "__fish_slm_using_subcommand eval" -l limit -d 'Stop after N rows' -r
complete -c slm -n "__fish_slm_using_subcommand eval" -l reading -d 'What the probability of an allowed answer is: `choices` is what decoding under the format draws from, `likelihood` that of its whole text, compared at last' -r -f -a "choices\t''
likelihood\t''"
complete -c slm -n "__fish_slm_using_subcommand eval" -l num-ctx -d 'Tokens of context' -r
complete -c slm -n "__fish_slm_using_subcommand eval" -l num-thread -d 'Threads that compute [default: one for each core that slm is granted]' -r
complete -c slm -n "__fish_slm_using_subcommand eval" -l num-gpu -d 'Layers on GPUs [default: as many as fit]' -r
complete -c slm -n "__fish_slm_using_subcommand eval" -l device -d 'Devices that compute, by name or number, separated by commas; `none` is the processor alone' -r
complete -c slm -n "__fish_slm_using_subcommand eval" -l main-gpu -d 'Of several GPUs, the one that holds small tensors' -r
complete -c slm -n "__fish_slm_using_subcommand eval" -l kv-type -d 'Type of keys and values for generated text: f16, q8_0, q4_0 …; scored answers always have f16' -r
complete -c slm -n "__fish_slm_using_subcommand eval" -l flash-attn -d 'Flash attention; auto is on wherever the model allows it' -r
complete -c slm -n "__fish_slm_using_subcommand eval" -l num-batch -d 'Tokens of a decode of generated text and its prompts [default: 512]' -r
complete -c slm -n "__fish_slm_using_subcommand eval" -l num-ubatch -d 'Tokens of a decode that are computed at once [default: 512]' -r
complete -c slm -n "__fish_slm_using_subcommand eval" -l json -d 'Write JSON'
complete -c slm -n "__fish_slm_using_subcommand eval" -l rows -d 'With --json: every row\'s answer too'
complete -c slm -n "__fish_slm_using_subcommand eval" -l exact -d 'Evaluate every choice among the allowed answers, also those that can change no probability by more than 0.01'
complete -c slm -n "__fish_slm_using_subcommand eval" -l no-mmap -d 'Read the weights into memory instead of mapping their file'
complete -c slm -n "__fish_slm_using_subcommand eval" -l mlock -d 'Keep the weights in memory whatever else needs it'
complete -c slm -n "__fish_slm_using_subcommand eval" -s h -l help -d 'Print help'
complete -c slm -n "__fish_slm_using_subcommand bench" -l compare -d 'Show the ratios to an earlier run, a file that --json wrote' -r -F
complete -c slm -n "__fish_slm_using_subcommand bench" -l repetitions -d 'Runs of each measurement [default: 5]' -r
complete -c slm -n "__fish_slm_using_subcommand bench" -l prefill -d 'Lengths of the prompts [default: 32,128,512]' -r
complete -c slm -n "__fish_slm_using_subcommand bench" -l decode -d 'Tokens to decode [default: 128; a fourth of it where several sequences are decoded at once]' -r
complete -c slm -n "__fish_slm_using_subcommand bench" -l sequences -d 'Sequences to decode at once [default: 1,2,4,8,16]' -r
complete -c slm -n "__fish_slm_using_subcommand bench" -l rows -d 'Rows to score and records to extract in each run; 0 leaves them out [default: 8]' -r
complete -c slm -n "__fish_slm_using_subcommand bench" -l parallel -d 'Records in flight [default: all rows of a run, at most 16]' -r
complete -c slm -n "__fish_slm_using_subcommand bench" -l num-ctx -d 'Tokens of context' -r
complete -c slm -n "__fish_slm_using_subcommand bench" -l num-thread -d 'Threads that compute [default: one for each core that slm is granted]' -r
complete -c slm -n "__fish_slm_using_subcommand bench" -l num-gpu -d 'Layers on GPUs [default: as many as fit]' -r
complete -c slm -n "__fish_slm_using_subcommand bench" -l device -d 'Devices that compute, by name or number, separated by commas; `none` is the processor alone' -r
complete -c slm -n "__fish_slm_using_subcommand bench" -l main-gpu -d 'Of several GPUs, the one that holds small tensors' -r
complete -c slm -n "__fish_slm_using_subcommand bench" -l kv-type -d 'Type of keys and values for generated text: f16, q8_0, q4_0 …; scored answers always have f16' -r
complete -c slm -n "__fish_slm_using_subcommand bench" -l flash-attn -d 'Flash attention; auto is on wherever the model allows it' -r
complete -c slm -n "__fish_slm_using_subcommand bench" -l num-batch -d 'Tokens of a decode of generated text and its prompts [default: 512]' -r
complete -c slm -n "__fish_slm_using_subcommand bench" -l num-ubatch -d 'Tokens of a decode that are computed at once [default: 512]' -r
complete -c slm -n "__fish_slm_using_subcommand bench" -l quick -d 'Measure for seconds instead of minutes: shorter, fewer, less sure'
complete -c slm -n "__fish_slm_using_subcommand bench" -l json -d 'Write JSON'
complete -c slm -n "__fish_slm_using_subcommand bench" -l no-ceiling -d 'Leave out what the machine could do at best'
complete -c slm -n "__fish_slm_using_subcommand bench" -s v -l verbose -d 'Say on standard error what computes and how'
complete -c slm -n "__fish_slm_using_subcommand bench" -l no-mmap -d 'Read the weights into memory instead of mapping their file'
complete -c slm -n "__fish_slm_using_subcommand bench" -l mlock -d 'Keep the weights in memory whatever else needs it'
complete -c slm -n "__fish_slm_using_subcommand bench" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c slm -n "__fish_slm_using_subcommand doctor" -l json -d 'Write one JSON object'
complete -c slm -n "__fish_slm_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c slm -n "__fish_slm_using_subcommand completions" -s h -l help -d 'Print help'
complete -c slm -n "__fish_slm_using_subcommand man" -s h -l help -d 'Print help'
complete -c slm -n "__fish_slm_using_subcommand engine" -s h -l help -d 'Print help'
complete -c slm -n "__fish_slm_using_subcommand help; and not __fish_seen_subcommand_from run serve ps stop pull push list show create rm cp verify prune eval bench doctor completions man engine help" -f -a "run" -d 'Ask a model: classify, score, or generate text'
complete -c slm -n "__fish_slm_using_subcommand help; and not __fish_seen_subcommand_from run serve ps stop pull push list show create rm cp verify prune eval bench doctor completions man engine help" -f -a "serve" -d 'Serve models to programs that speak Ollama\'s, OpenAI\'s, Anthropic\'s or System One\'s API'
complete -c slm -n "__fish_slm_using_subcommand help; and not __fish_seen_subcommand_from run serve ps stop pull push list show create rm cp verify prune eval bench doctor completions man engine help" -f -a "ps" -d 'List the models that the running server holds in memory'
complete -c slm -n "__fish_slm_using_subcommand help; and not __fish_seen_subcommand_from run serve ps stop pull push list show create rm cp verify prune eval bench doctor completions man engine help" -f -a "stop" -d 'Let the running server unload a model'
complete -c slm -n "__fish_slm_using_subcommand help; and not __fish_seen_subcommand_from run serve ps stop pull push list show create rm cp verify prune eval bench doctor completions man engine help" -f -a "pull" -d 'Bring a model from a registry, an address or a file'
complete -c slm -n "__fish_slm_using_subcommand help; and not __fish_seen_subcommand_from run serve ps stop pull push list show create rm cp verify prune eval bench doctor completions man engine help" -f -a "push" -d 'Bring a model to a registry'
complete -c slm -n "__fish_slm_using_subcommand help; and not __fish_seen_subcommand_from run serve ps stop pull push list show create rm cp verify prune eval bench doctor completions man engine help" -f -a "list" -d 'List the models'
complete -c slm -n "__fish_slm_using_subcommand help; and not __fish_seen_subcommand_from run serve ps stop pull push list show create rm cp verify prune eval bench doctor completions man engine help" -f -a "show" -d 'Show what a model is made of'
complete -c slm -n "__fish_slm_using_subcommand help; and not __fish_seen_subcommand_from run serve ps stop pull push list show create rm cp verify prune eval bench doctor completions man engine help" -f -a "create" -d 'Make a model from a Modelfile'
complete -c slm -n "__fish_slm_using_subcommand help; and not __fish_seen_subcommand_from run serve ps stop pull push list show create rm cp verify prune eval bench doctor completions man engine help" -f -a "rm" -d 'Remove models, and their blobs that no other model needs'
complete -c slm -n "__fish_slm_using_subcommand help; and not __fish_seen_subcommand_from run serve ps stop pull push list show create rm cp verify prune eval bench doctor completions man engine help" -f -a "cp" -d 'Give a model a second name; its blobs are shared'
complete -c slm -n "__fish_slm_using_subcommand help; and not __fish_seen_subcommand_from run serve ps stop pull push list show create rm cp verify prune eval bench doctor completions man engine help" -f -a "verify" -d 'Hash what is stored and say what is damaged'
complete -c slm -n "__fish_slm_using_subcommand help; and not __fish_seen_subcommand_from run serve ps stop pull push list show create rm cp verify prune eval bench doctor completions man engine help" -f -a "prune" -d 'Remove what no model needs: blobs without a model, old downloads, traces of processes that died'
complete -c slm -n "__fish_slm_using_subcommand help; and not __fish_seen_subcommand_from run serve ps stop pull push list show create rm cp verify prune eval bench doctor completions man engine help" -f -a "eval" -d 'Measure a model on labelled data'
complete -c slm -n "__fish_slm_using_subcommand help; and not __fish_seen_subcommand_from run serve ps stop pull push list show create rm cp verify prune eval bench doctor completions man engine help" -f -a "bench" -d 'Measure a model\'s speed on this machine'
complete -c slm -n "__fish_slm_using_subcommand help; and not __fish_seen_subcommand_from run serve ps stop pull push list show create rm cp verify prune eval bench doctor completions man engine help" -f -a "doctor" -d 'Check this machine: processor, accelerators, threads, store, server, credentials and settings'
complete -c slm -n "__fish_slm_using_subcommand help; and not __fish_seen_subcommand_from run serve ps stop pull push list show create rm cp verify prune eval bench doctor completions man engine help" -f -a "completions" -d 'Print a completion script for a shell'
complete -c slm -n "__fish_slm_using_subcommand help; and not __fish_seen_subcommand_from run serve ps stop pull push list show create rm cp verify prune eval bench doctor completions man engine help" -f -a "man" -d 'Write the man pages into a folder'
complete -c slm -n "__fish_slm_using_subcommand help; and not __fish_seen_subcommand_from run serve ps stop pull push list show create rm cp verify prune eval bench doctor completions man engine help" -f -a "engine"
complete -c slm -n "__fish_slm_using_subcommand help; and not __fish_seen_subcommand_from run serve ps stop pull push list show create rm cp verify prune eval bench doctor completions man engine help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
