// Looks at the published types as a strict user's compiler does, and for types that stand in the signatures of what is
// exported but are not exported themselves: such a value can be had, and not be named. Needs dist/.
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const types = fileURLToPath(new URL('../dist/types/', import.meta.url));
const roots = ['index.d.ts', 'testing.d.ts'].map((name) => `${types}${name}`);
const program = ts.createProgram(roots, {
  strict: true,
  noEmit: true,
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  target: ts.ScriptTarget.ES2023,
  lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
  types: ['node'],
});
const checker = program.getTypeChecker();
/** @type {string[]} */
const faults = [];

for (const file of program.getSourceFiles().filter(({ fileName }) => fileName.startsWith(types))) {
  for (const { messageText } of [
    ...program.getSyntacticDiagnostics(file),
    ...program.getSemanticDiagnostics(file),
  ]) {
    faults.push(`${file.fileName.slice(types.length)}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`);
  }
}

/** @param {ts.Symbol | undefined} symbol */
const target = (symbol) =>
  symbol !== undefined && (symbol.flags & ts.SymbolFlags.Alias) !== 0
    ? checker.getAliasedSymbol(symbol)
    : symbol;

const exported = new Set(
  roots.flatMap((root) => {
    const file = /** @type {ts.SourceFile} */ (program.getSourceFile(root));
    const module = /** @type {ts.Symbol} */ (checker.getSymbolAtLocation(file));
    return checker.getExportsOfModule(module).map((symbol) => target(symbol) ?? symbol);
  }),
);

/** @param {ts.Symbol} symbol */
function isNameable(symbol) {
  if (exported.has(symbol) || (symbol.flags & ts.SymbolFlags.TypeParameter) !== 0) return true;
  return symbol.declarations?.every((each) => !each.getSourceFile().fileName.startsWith(types)) ?? true;
}

/** @param {ts.Node} node */
function isHidden(node) {
  if (!ts.isClassElement(node)) return false;
  const hidden = ts.ModifierFlags.Private | ts.ModifierFlags.Protected;
  return (ts.getCombinedModifierFlags(node) & hidden) !== 0;
}

/**
 * @param {ts.Node} node
 * @param {string} owner
 */
function visit(node, owner) {
  if (isHidden(node)) return;
  const name = ts.isTypeReferenceNode(node)
    ? node.typeName
    : ts.isExpressionWithTypeArguments(node)
      ? node.expression
      : undefined;
  const symbol = name && target(checker.getSymbolAtLocation(name));
  if (symbol !== undefined && !isNameable(symbol)) {
    // What a class inherits is its own; the base needs no name.
    if (ts.isExpressionWithTypeArguments(node)) visitAll(symbol, owner);
    else faults.push(`${symbol.name}, in the signature of ${owner}, is not exported`);
  }
  ts.forEachChild(node, (child) => {
    visit(child, owner);
  });
}

/**
 * @param {ts.Symbol} symbol
 * @param {string} owner
 */
function visitAll(symbol, owner) {
  for (const declaration of symbol.declarations ?? []) visit(declaration, owner);
}

for (const symbol of exported) visitAll(symbol, symbol.name);
for (const fault of new Set(faults)) process.stderr.write(`check-types: ${fault}\n`);
process.exitCode = faults.length === 0 ? 0 : 1;
