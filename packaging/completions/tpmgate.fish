# fish completion for tpmgate
#
# Verbs and options are those that the installed command's --help shows: nothing is listed here.

function __tpmgate_verbs
    tpmgate --help 2>/dev/null |
        string match -rg '^  ([a-z][a-z-]*) +(?:[A-Z\[][^ ]* +)?(.*)' |
        while read -l verb
            read -l summary
            printf '%s\t%s\n' $verb $summary
        end
end

function __tpmgate_verb
    set -l takes_value --profile --device --socket --for --check --explain --profiles-dir
    set -l skip no
    for word in (commandline -opc)[2..]
        if test $skip = yes
            set skip no
        else if contains -- $word $takes_value
            set skip yes
        else if not string match -q -- '-*' $word
            echo $word
            return
        end
    end
    return 1
end

function __tpmgate_options
    tpmgate (__tpmgate_verb) --help 2>/dev/null |
        string match -rg '^ +(?:-., )?(--[a-z-]+)(?: [A-Z][^ ]*)? +(.*)' |
        while read -l option
            read -l summary
            printf '%s\t%s\n' $option $summary
        end
end

function __tpmgate_profiles
    set -l before (string match -r '.*\+' -- (commandline -ct); or echo '')
    for profile in (tpmgate profiles --no-interaction 2>/dev/null | string match -rg '^([a-z0-9_-]+) ')
        echo $before$profile
    end
end

function __tpmgate_after
    contains -- (commandline -opc)[-1] $argv
end

set -l values --profile --device --socket --for --check --explain --profiles-dir
complete -c tpmgate -f
complete -c tpmgate -n "not __tpmgate_verb; and not __tpmgate_after $values" -a '(__tpmgate_verbs)'
complete -c tpmgate -n "string match -q -- '-*' (commandline -ct); and not __tpmgate_after $values" -a '(__tpmgate_options)'
complete -c tpmgate -n '__tpmgate_after --profile' -a '(__tpmgate_profiles)'
complete -c tpmgate -n '__tpmgate_after --device' -a "(tpmgate devices 2>/dev/null | string match -rg '^([^ ]+) .*,')"
complete -c tpmgate -n '__tpmgate_after --for' -a '(__fish_complete_users)'
complete -c tpmgate -n '__tpmgate_after --check --socket --profiles-dir' -F
complete -c tpmgate -n "string match -q -- (__tpmgate_verb; or echo none) revoke" -a "(tpmgate sessions 2>/dev/null | string match -rg '^([0-9]+) ')"
complete -c tpmgate -n "string match -q -- (__tpmgate_verb; or echo none) forget" -a '(__fish_complete_users)'
complete -c tpmgate -n "string match -q -- (__tpmgate_verb; or echo none) eventlog" -F
