# SPDX-License-Identifier: Apache-2.0
"""Writes the typed views of <kubernel/api/view.h>: one header per group version."""

import re

from tables import HEADER

KEYWORDS = set('''auto bool break case catch char class concept const continue default delete do double else enum explicit export
extern false float for friend goto if inline int long mutable namespace new not operator or and xor private protected public
register requires return short signed sizeof static struct switch template this throw true try typedef typename union unsigned
using virtual void volatile while linux unix'''.split())

WORD = re.compile(r'[A-Z]+s(?=[A-Z]|$)|[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z0-9]+|[A-Z]+[0-9]*')


def snake_case(name):
    words = WORD.findall(name)
    result = '_'.join(w.lower() for w in words)
    return result + '_' if result in KEYWORDS else result


def header_name(package):
    return f'{package[0]}_{package[1]}.h'


SCALARS = {'String': 'std::string_view', 'Bytes': 'std::string_view', 'Bool': 'bool', 'Int32': 'std::int64_t',
           'Int64': 'std::int64_t', 'Float64': 'double'}
READERS = {'String': 'text_', 'Bytes': 'text_', 'Bool': 'flag_', 'Int32': 'integer_', 'Int64': 'integer_',
           'Float64': 'number_'}


class ViewWriter:
    by_value = ('Single',)  # Shapes whose accessors return the element's class itself, not a List or Map of it.

    def __init__(self, facts, package):
        self.facts = facts
        self.package = package
        self.types = [t for t in facts.sorted_types() if t.view_package == package]
        self.uses = set()

    # Names of the SDK are qualified: the API has kinds of its own called List and Event.
    def qualified(self, type_id):
        t = self.facts.types[type_id]
        if t.view_package is None:
            return 'api::Value'
        if t.view_package == self.package:
            return t.name
        self.uses.add(t.view_package)
        return '::'.join(t.view_package) + '::' + t.name

    def element(self, field):
        if field.kind == 'Struct':
            return self.qualified(field.type_id)
        return SCALARS.get(field.kind, 'api::Value')

    def accessor(self, field):
        """(return type, expression)"""
        key = f'"{field.json}"'
        element = self.element(field)
        if field.kind == 'StringList':
            element = 'api::List<std::string_view>'
        if field.shape != 'Single':
            shape = f'api::{field.shape}<{element}>'
            return shape, f'{shape}(at_({key}))'
        if field.kind == 'Struct' or field.kind == 'StringList':
            return element, f'{element}(at_({key}))'
        if field.kind not in READERS:
            return 'api::Value', f'at_({key})'
        if field.raw.get('pointer') and not field.default_json:
            return f'std::optional<{element}>', f'api::detail::read_optional<{element}>(at_({key}))'
        default = f', {field.default_json}' if field.default_json else ''
        return element, f'{READERS[field.kind]}({key}{default})'

    def class_text(self, t):
        lines = [f'class {t.name} : public api::View {{', ' public:', '  using View::View;']
        if t.kind:
            lines.append(f'  explicit {t.name}(const api::Object& object) : View(object) {{}}')
        seen = set()
        for owner, index in t.members(self.facts.types):
            field = owner.fields[index]
            name = snake_case(field.json)
            if name in seen or name == 'raw':
                raise ValueError(f'{t.id}: accessor {name} occurs twice')
            seen.add(name)
            returned, expression = self.accessor(field)
            lines.append(f'  {returned} {name}() const {{ return {expression}; }}')
        return '\n'.join([*lines, '};'])

    def ordered(self):
        """A type after those its accessors return by value, as far as they do not go round in a circle."""
        done, result = set(), []

        def visit(t):
            if t.id in done:
                return
            done.add(t.id)
            for owner, index in t.members(self.facts.types):
                field = owner.fields[index]
                if field.kind == 'Struct' and field.shape in self.by_value:
                    other = self.facts.types[field.type_id]
                    if other.view_package == self.package:
                        visit(other)
            result.append(t)

        for t in self.types:
            visit(t)
        return result

    def text(self):
        classes = '\n'.join(self.class_text(t) for t in self.ordered())
        includes = ''.join(f'#include <kubernel/api/views/{header_name(p)}>\n' for p in sorted(self.uses))
        forward = '\n'.join(f'class {t.name};' for t in self.types)
        return (f'{HEADER}#pragma once\n\n#include <kubernel/api/view.h>\n{includes}\n'
                f'namespace kubernel::api::{self.package[0]}::{self.package[1]} {{\n\n{forward}\n\n{classes}\n\n'
                f'}}  // namespace kubernel::api::{self.package[0]}::{self.package[1]}\n')


def write_views(facts, write):
    for package in facts.view_packages():
        write(header_name(package), ViewWriter(facts, package).text())
