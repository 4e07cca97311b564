import type { CommandLeaf, CommandTree, Value } from './tree.js';

/** For bash 4 and later; it needs no other script. */
export function bashScript({ name, commands, options }: CommandTree): string {
  return `# bash completion of ${name}
_kvm_htab() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD - 1]} words=
  # bash takes --option=value apart.
  if [[ $current == = ]]; then current=
  elif [[ $previous == = ]]; then previous=\${COMP_WORDS[COMP_CWORD - 2]}; fi
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    words='${[...commands, ...options].map((each) => each.name).join(' ')}'
  else
    case \${COMP_WORDS[1]}:$previous in
${valueCases(commands).join('\n')}
      *)
        case \${COMP_WORDS[1]}:$current in
${commands.flatMap(commandCases).join('\n')}
        esac ;;
    esac
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -F _kvm_htab ${name}
`;
}

/** What follows an option that takes a value: the options with one answer in one case. */
function valueCases(commands: readonly CommandLeaf[]): string[] {
  const patterns = new Map<string, string[]>();
  for (const { name, options } of commands) {
    for (const { name: option, value, optional } of options) {
      if (value === undefined || optional) continue;
      const answer = complete(value);
      patterns.set(answer, [...(patterns.get(answer) ?? []), `${name}:${option}`]);
    }
  }
  return [...patterns].map(([answer, cases]) => `      ${cases.join(' | ')}) ${answer} ;;`);
}

/** An option begins with a hyphen; anything else is the argument. */
function commandCases({ name, options, argument }: CommandLeaf): string[] {
  const words = options.map((option) => option.name).join(' ');
  const begun = argument === undefined || argument === 'other' ? '*' : '-*';
  return [
    `          ${name}:${begun}) words='${words}' ;;`,
    ...(begun === '*' ? [] : [`          ${name}:*) ${complete(argument!)} ;;`]),
  ];
}

function complete(value: Value): string {
  if (value === 'file') return 'compopt -o default; return 0';
  return value === 'other' ? 'return 0' : `words='${value.join(' ')}'`;
}
