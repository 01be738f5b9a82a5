# bash completion for tpmgate
#
# Verbs and options are those that the installed command's --help shows: nothing is listed here.

_tpmgate_verbs() {
	"$1" --help 2>/dev/null | sed -n '/^Verbs:/,/^$/s/^  \([a-z][a-z-]*\) .*/\1/p'
}

_tpmgate_options() { # COMMAND [VERB]
	"$@" --help 2>/dev/null | sed -n 's/^  *\(-., \)\{0,1\}\(--[a-z-]*\).*/\2/p'
}

_tpmgate() {
	local command=$1 current=$2 previous=$3 verb='' word i
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		case $word in
		--profile | --device | --socket | --for | --check | --explain | --profiles-dir)
			i=$((i + 1))
			[ "${COMP_WORDS[i]-}" != = ] || i=$((i + 1)) ;;
		-* | =) ;;
		*)
			verb=$word
			break ;;
		esac
	done
	# --option=value is three words
	if [ "$current" = = ]; then
		current=
	elif [ "$previous" = = ]; then
		previous=${COMP_WORDS[COMP_CWORD - 2]}
	fi

	case $previous in
	--profile)
		local before=
		[[ $current == *+* ]] && before=${current%+*}+
		mapfile -t COMPREPLY < <(compgen -P "$before" -W "$("$command" profiles \
			--no-interaction 2>/dev/null | sed '1d;s/ .*//')" -- "${current##*+}")
		return ;;
	--device)
		mapfile -t COMPREPLY < <(compgen -W "$("$command" devices 2>/dev/null |
			sed -n 's/^\([^ ]*\) .*,.*/\1/p')" -- "$current")
		return ;;
	--for)
		mapfile -t COMPREPLY < <(compgen -u -- "$current")
		return ;;
	--profiles-dir)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -d -- "$current")
		return ;;
	--check | --socket)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$current")
		return ;;
	--explain)
		return ;;
	esac

	if [[ $current == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W \
			"$(_tpmgate_options "$command" ${verb:+"$verb"})" -- "$current")
		return
	fi
	case $verb in
	'') mapfile -t COMPREPLY < <(compgen -W "$(_tpmgate_verbs "$command")" -- "$current") ;;
	revoke)
		mapfile -t COMPREPLY < <(compgen -W "$("$command" sessions 2>/dev/null |
			sed -n 's/^\([0-9][0-9]*\) .*/\1/p')" -- "$current") ;;
	forget) mapfile -t COMPREPLY < <(compgen -u -- "$current") ;;
	eventlog)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
	esac
}

complete -o nosort -F _tpmgate tpmgate
