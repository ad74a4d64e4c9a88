# SPDX-License-Identifier: Apache-2.0
"""Writes the typed builders of <kubernel/api/builder.h>: one header per group version."""

from tables import HEADER
from views import SCALARS, ViewWriter, header_name, snake_case


class BuilderWriter(ViewWriter):
    by_value = ('Single', 'List', 'Map')

    def builder(self, field):
        """The builder class of a struct's field, or None where there is none."""
        if field.kind != 'Struct' or self.facts.types[field.type_id].view_package is None:
            return None
        return self.qualified(field.type_id) + 'Builder'

    @staticmethod
    def parameters(field):
        """The forms in which one element is given."""
        if field.kind in SCALARS:
            return [SCALARS[field.kind]]
        if field.kind in ('Quantity', 'Time', 'MicroTime', 'Duration'):
            return ['std::string_view']
        if field.kind == 'IntOrString':
            return ['std::int64_t', 'std::string_view']
        return ['const nlohmann::json&']

    def setters(self, t, field):
        key = f'"{field.json}"'
        name = snake_case(field.json)
        plain = name.rstrip('_')
        builder = self.builder(field)
        if builder and field.shape == 'Single':
            return [f'  {builder} {name}() {{ return {builder}(place_({key})); }}']
        if builder and field.shape == 'List':
            return [f'  {builder} add_{plain}() {{ return {builder}(element_({key})); }}']
        if builder:
            return [f'  {builder} put_{plain}(std::string_view key) {{ return {builder}(entry_({key}, key)); }}']
        verb, place, extra = {'Single': ('set', f'place_({key})', ''), 'List': ('add', f'element_({key})', ''),
                              'Map': ('put', f'entry_({key}, key)', 'std::string_view key, ')}[field.shape]
        return [f'  {t.name}Builder& {verb}_{plain}({extra}{parameter} value) {{ assign_({place}, value); return *this; }}'
                for parameter in self.parameters(field)]

    def class_text(self, t):
        name = t.name + 'Builder'
        lines = [f'class {name} : public api::Builder {{', ' public:']
        if t.kind:
            version = f'{t.group}/{t.version}' if t.group else t.version
            lines.append(f'  explicit {name}(nlohmann::json& document) : Builder(document) '
                         f'{{ identify_("{version}", "{t.name}"); }}')
        else:
            lines.append('  using Builder::Builder;')
        for owner, index in t.members(self.facts.types):
            field = owner.fields[index]
            if not (t.kind and field.json in ('kind', 'apiVersion')):
                lines += self.setters(t, field)
        return '\n'.join([*lines, '};'])

    def text(self):
        classes = '\n'.join(self.class_text(t) for t in self.ordered())
        includes = ''.join(f'#include <kubernel/api/builders/{header_name(p)}>\n' for p in sorted(self.uses))
        forward = '\n'.join(f'class {t.name}Builder;' for t in self.types)
        space = f'kubernel::api::{self.package[0]}::{self.package[1]}'
        return (f'{HEADER}#pragma once\n\n#include <kubernel/api/builder.h>\n{includes}\n'
                f'namespace {space} {{\n\n{forward}\n\n{classes}\n\n}}  // namespace {space}\n')


def write_builders(facts, write):
    for package in facts.view_packages():
        write(header_name(package), BuilderWriter(facts, package).text())
