complete --keep-order --exclusive --command slm --arguments "(_SLM_COMPLETE=fish slm -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token))"
