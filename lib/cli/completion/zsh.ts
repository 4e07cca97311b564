import type { CommandLeaf, CommandTree, OptionLeaf, Value } from './tree.js';

/** For zsh: a file of `$fpath`, or to be sourced. */
export function zshScript({ name, commands, options }: CommandTree): string {
  const described = commands.map((each) => quoted(`${each.name}:${each.description}`));
  return `#compdef ${name}
# zsh completion of ${name}
_${name}() {
  local -a commands=(
    ${described.join('\n    ')}
  )
  if (( CURRENT == 2 )); then
    if [[ $PREFIX == -* ]]; then
      _arguments ${options.map(optionSpec).join(' ')}
    else
      _describe command commands
    fi
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
${commands.map(commandCase).join('\n')}
  esac
}
if [[ \${funcstack[1]} == _${name} ]]; then
  _${name} "$@"
else
  compdef _${name} ${name}
fi
`;
}

function commandCase({ name, options, argument }: CommandLeaf): string {
  const specs = options.map(optionSpec);
  if (argument !== undefined) specs.push(quoted(`:${name} argument:${action(argument)}`));
  return `    ${name})
      _arguments \\
        ${specs.join(' \\\n        ')} ;;`;
}

function optionSpec({ name, description, value, optional }: OptionLeaf): string {
  const help = `[${description.replaceAll(/[[\]\\]/g, '\\$&')}]`;
  if (value === undefined) return quoted(`${name}${help}`);
  // With "=-" the value must stand in the same word.
  return quoted(`${name}=${optional ? '-' : ''}${help}:${optional ? ':' : ''}value:${action(value)}`);
}

function action(value: Value): string {
  if (value === 'file') return '_files';
  return value === 'other' ? '' : `(${value.join(' ')})`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
