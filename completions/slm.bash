_slm() {
    local IFS=$'\013' words=() index=0 i word is_joined=
    for ((i = 0; i < ${#COMP_WORDS[@]}; i++)); do
        word=${COMP_WORDS[i]}
        if ((i > 1)) && [[ -n $is_joined || $word == :* ]]; then
            words[${#words[@]} - 1]+=$word
        else
            words+=("$word")
        fi
        is_joined=
        [[ $word != *: ]] || is_joined=yes
        ((i != COMP_CWORD)) || index=$((${#words[@]} - 1))
    done
    local current=${words[index]} space=true
    ! compopt +o nospace 2>/dev/null || space=false
    COMPREPLY=($(_CLAP_IFS=$IFS _CLAP_COMPLETE_INDEX=$index _CLAP_COMPLETE_COMP_TYPE=$COMP_TYPE \
        _CLAP_COMPLETE_SPACE=$space _SLM_COMPLETE=bash slm -- "${words[@]}"))
    if [[ $current == *:* && $COMP_WORDBREAKS == *:* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${current%"${current##*:}"}"}")
    fi
    if [[ $space == false && ${COMPREPLY-} == *[=/:] ]]; then
        compopt -o nospace
    fi
}
complete -o nospace -o bashdefault -F _slm slm
