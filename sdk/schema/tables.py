# SPDX-License-Identifier: Apache-2.0
"""Writes the tables of <kubernel/schema/schema.h> as constant data."""

HEADER = '''// SPDX-License-Identifier: Apache-2.0
// Made by sdk/schema/generate.py from sdk/schema/facts.
'''


def sv(text):
    escaped = text.replace('\\', '\\\\').replace('"', '\\"')
    return f'"{escaped}"sv' if text else 'std::string_view()'


def flag(value):
    return 'true' if value else 'false'


class Pool:
    """Arrays and rule sets of one source file, each written once."""

    def __init__(self):
        self.lines = []
        self.names = {}

    def _name(self, prefix, key, make):
        if key not in self.names:
            name = self.names[key] = f'{prefix}{len(self.names)}'
            self.lines.append(make(name))
        return self.names[key]

    def words(self, words):
        if not words:
            return '{}'
        text = ', '.join(sv(w) for w in words)
        return self._name('w', ('w', *words), lambda n: f'constexpr std::string_view {n}[] = {{{text}}};')

    def indexes(self, numbers):
        if not numbers:
            return '{}'
        text = ', '.join(map(str, numbers))
        return self._name('n', ('n', *numbers), lambda n: f'constexpr std::uint8_t {n}[] = {{{text}}};')

    def rules(self, field):
        raw = field.raw
        parts = []

        def put(name, text):
            parts.append(f'.{name} = {text}')

        for name, key in (('list_map_keys', 'listMapKeys'), ('enum_values', 'enum')):
            if raw.get(key):
                put(name, self.words(sorted(raw[key]) if key == 'enum' else raw[key]))
        if field.default_json:
            put('default_json', sv(field.default_json))
        for name in ('min', 'max'):
            if name in raw:
                put(name, f'std::int64_t{{{raw[name]}}}')
        for name, key in (('min_items', 'minItems'), ('max_items', 'maxItems'), ('max_length', 'maxLength'),
                          ('max_bytes', 'maxBytes')):
            if raw.get(key):
                put(name, str(raw[key]))
        for name, text in (('format', raw.get('format', '')), ('key_format', field.marker('eachKey=format')),
                           ('named', field.named), ('one_of', field.one_of), ('zero_or_one_of', field.zero_or_one_of)):
            if text:
                put(name, sv(text))
        for name in ('unique_keys', 'unique_items'):
            if getattr(field, name):
                put(name, 'true')
        if not parts:
            return 'kNoRules'
        text = ', '.join(parts)
        return self._name('r', ('r', text), lambda n: f'constexpr FieldRules {n}{{{text}}};')


LIST_TYPES = {None: 'None', 'atomic': 'Atomic', 'set': 'Set', 'map': 'Map'}
PATCH_STRATEGIES = {None: 'None', 'merge': 'Merge', 'replace': 'Replace', 'retainKeys': 'RetainKeys',
                    'merge,retainKeys': 'MergeRetainKeys'}


def field_text(facts, pool, owner, field):
    raw = field.raw
    type_text = '&t_' + facts.types[field.type_id].symbol if field.type_id else 'nullptr'
    atomic = 'atomic' in (raw.get('mapType'), raw.get('structType'))
    if field.type_id and field.shape == 'Single' and not raw.get('structType'):
        atomic = atomic or facts.types[field.type_id].raw.get('structType') == 'atomic'
    flags = [raw.get('pointer'), raw.get('omitempty'), raw.get('omitzero'), field.required, field.enforced, field.embedded,
             raw.get('nullable'), atomic, any(m.endswith('immutable') and 'if' not in m for m in field.markers),
             raw.get('union') == 'discriminator']
    return ('{' + ', '.join([
        sv(field.json), type_text, '&' + pool.rules(field), sv(raw.get('patchMergeKey', '')), str(field.proto_number),
        'Kind::' + field.kind, 'Shape::' + field.shape,
        'ListType::' + LIST_TYPES[raw.get('listType')], 'PatchStrategy::' + PATCH_STRATEGIES[raw.get('patchStrategy')],
        *map(flag, flags)]) + '}')


def type_text(facts, pool, t, lines):
    symbol = t.symbol
    proto = sorted((f.proto_number, i) for i, f in enumerate(t.fields) if f.proto_number)
    members = t.members(facts.types)
    order = sorted(range(len(members)), key=lambda i: members[i][0].fields[members[i][1]].json.encode())
    names = [members[i][0].fields[members[i][1]].json for i in order]
    if len(set(names)) != len(names):
        raise ValueError(f'{t.id}: a JSON name occurs twice')
    fields_text = members_text = '{}'
    if t.fields:
        body = ',\n  '.join(field_text(facts, pool, t, f) for f in t.fields)
        lines.append(f'constexpr Field f_{symbol}[] = {{\n  {body}}};')
        fields_text = f'f_{symbol}'
    if members:
        body = ', '.join(f'&f_{o.symbol}[{i}]' for o, i in members)
        lines.append(f'constexpr const Field* m_{symbol}[] = {{{body}}};')
        members_text = f'm_{symbol}'
    lines.append(
        f'constexpr Type t_{symbol}{{{sv(t.id)}, {sv(t.group)}, {sv(t.version)}, {sv(t.name)}, {fields_text}, '
        f'{pool.indexes([i for _, i in proto])}, {members_text}, {pool.indexes(order)}, {flag(t.raw.get("proto"))}, '
        f'{flag(t.kind)}, {flag(t.raw.get("structType") == "atomic")}, '
        f'{"&d_" + symbol if t.id in facts.defaulted else "nullptr"}}};')


PREAMBLE = HEADER + '''#include "schema_tables.h"

namespace kubernel::schema::tables {

using namespace std::string_view_literals;

'''


def write_types(facts, write, files):
    """The types, spread over `files` sources."""
    types = facts.sorted_types()
    total = sum(len(t.fields) + 2 for t in types)
    source, done = 0, 0
    pool, lines = Pool(), []
    for t in types:
        type_text(facts, pool, t, lines)
        done += len(t.fields) + 2
        if done * files >= total * (source + 1):
            text = PREAMBLE + 'namespace {\n\nconstexpr FieldRules kNoRules{};\n' + '\n'.join(pool.lines)
            write(f'schema_types_{source}.cpp',
                  text + '\n\n}  // namespace\n\n' + '\n'.join(lines) + '\n\n}  // namespace kubernel::schema::tables\n')
            source, pool, lines = source + 1, Pool(), []


def write_header(facts, write):
    lines = [HEADER + '#pragma once\n\n#include <kubernel/schema/schema.h>\n\nnamespace kubernel::schema::tables {\n']
    for t in facts.sorted_types():
        lines.append(f'extern const Type t_{t.symbol};')
        if t.fields:
            lines.append(f'extern const Field f_{t.symbol}[{len(t.fields)}];')
        if t.id in facts.defaulted:
            lines.append(f'extern const Defaulting d_{t.symbol};')
    lines.append('''
/// A registered kind.
struct KindRow {
  std::string_view group, version, kind;
  const Type* type;
};
extern const std::span<const Type* const> kTypes;
extern const std::span<const KindRow> kKinds;  // Ascending by group, version, kind.
extern const std::span<const ResourceInfo> kResources;
extern const std::span<const GroupInfo> kGroups;

}  // namespace kubernel::schema::tables''')
    write('schema_tables.h', '\n'.join(lines) + '\n')


def kind_rows(facts):
    """A kind of the same name in another package wins over meta/v1's (core/v1 List)."""
    rows = {}
    for t in sorted(facts.types.values(), key=lambda t: (not t.id.startswith('k8s.io.apimachinery'), t.id)):
        if t.kind:
            rows[(t.group, t.version, t.name)] = t
    return sorted(rows.items())


def resource_text(facts, pool, row):
    subresources = '{}'
    if row.get('subresources'):
        body = ', '.join(f'{{{sv(s["name"])}, {sv(s["kind"])}, {pool.words(s["verbs"])}}}' for s in row['subresources'])
        subresources = pool._name('s', ('s', body), lambda n: f'constexpr Subresource {n}[] = {{{body}}};')
    parts = [sv(row.get(key, '')) for key in ('group', 'version', 'kind', 'list_kind', 'plural', 'singular')]
    parts += [pool.words(row.get(key)) for key in ('shortNames', 'categories', 'verbs')]
    parts += [subresources, flag(row['namespaced']), flag(row['stage'] == 'GA'), flag(row.get('storage', True))]
    parts += [sv(row.get(key, '')) for key in ('storage_version', 'storage_version_hash', 'etcd_prefix')]
    return '{' + ', '.join([*parts, '&t_' + facts.types[row['type']].symbol]) + '}'


def group_text(pool, group):
    versions = sorted(group['versions'], key=lambda v: -v.get('version_priority', 0))
    body = ', '.join(f'{{{sv(v["version"])}, {flag(v["stage"] == "GA")}, {flag(v["enabled_by_default"])}, '
                     f'{v.get("version_priority", 0)}}}' for v in versions)
    name = pool._name('g', ('g', body), lambda n: f'constexpr GroupVersionInfo {n}[] = {{{body}}};')
    return f'{{{sv(group["group"])}, {sv(group["preferred_version"])}, {group_priority(group)}, {name}}}'


def group_priority(group):
    # The aggregator's own group has no APIService; upstream lists it first among the named groups.
    if group['group'] == 'apiregistration.k8s.io':
        return 18000
    return max(v.get('group_priority_minimum', 0) for v in group['versions'])


def write_index(facts, write):
    pool, lines = Pool(), []
    types = ',\n  '.join('&t_' + t.symbol for t in facts.sorted_types())
    lines.append(f'constexpr const Type* types[] = {{\n  {types}}};')
    kinds = ',\n  '.join(f'{{{sv(g)}, {sv(v)}, {sv(k)}, &t_{t.symbol}}}' for (g, v, k), t in kind_rows(facts))
    lines.append(f'constexpr KindRow kinds[] = {{\n  {kinds}}};')
    rows = sorted(facts.resources, key=lambda r: (r['group'], r['version'], r['plural']))
    resources = ',\n  '.join(resource_text(facts, pool, row) for row in rows)
    lines.append(f'constexpr ResourceInfo resources[] = {{\n  {resources}}};')
    ordered = sorted(facts.groups, key=lambda g: (g['group'] != '', -group_priority(g), g['group']))
    groups = ',\n  '.join(group_text(pool, g) for g in ordered)
    lines.append(f'constexpr GroupInfo groups[] = {{\n  {groups}}};')
    write('schema_index.cpp', PREAMBLE + 'namespace {\n\n' + '\n'.join(pool.lines + lines) + '''

}  // namespace

constexpr std::span<const Type* const> kTypes{types};
constexpr std::span<const KindRow> kKinds{kinds};
constexpr std::span<const ResourceInfo> kResources{resources};
constexpr std::span<const GroupInfo> kGroups{groups};

}  // namespace kubernel::schema::tables
''')
