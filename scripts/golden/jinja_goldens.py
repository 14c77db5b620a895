#!/usr/bin/env python3
"""Writes testdata/jinja/goldens.json: templates, their variables, and what transformers renders.

The environment is the one in which transformers runs chat templates: jinja2 in its sandbox. A case is
[template, variables, output]; the output is null where rendering raises an error.

Written with transformers 5.23, jinja2 3.1.6.
"""

import datetime
import json
from pathlib import Path

from transformers.utils import chat_template_utils

OUTPUT = Path(__file__).resolve().parents[2] / "testdata" / "jinja" / "goldens.json"
NOW = datetime.datetime(2024, 7, 26, 9, 5, 3)  # what the test passes as the time, too

MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": " Hi <b>you</b> & 'me' \"it\"\n"},
    {"role": "assistant", "content": None, "tool_calls": [
        {"type": "function", "function": {"name": "add", "arguments": {"a": 1, "b": 2.5, "c": [True, None]}}}]},
    {"role": "tool", "content": "déjà vu 你好 🙂", "name": "add"},
]
C = {
    "messages": MESSAGES,
    "m": MESSAGES[1],
    "s": "The quick, brown Fox",
    "e": "",
    "u": "straße ÀÉ ǆ ﬁ Σίσυφος ΟΔΟΣ İ 你好🙂",
    "w": "  two\twords \n",
    "lines": "a\nb\r\nc\rd\x0be\x85f\u2028g\n",
    "n": 7, "z": 0, "neg": -7, "f": 2.5, "big": 1e22, "tiny": 1e-7, "t": True, "no": False, "none_value": None,
    "l": [3, 1, 2], "ls": ["b", "A", "c", "a"], "ll": [[1, 2], [3, 4]], "el": [],
    "d": {"b": 1, "a": 2, "C": 3}, "ed": {}, "nested": {"x": {"y": [10, {"z": "deep"}]}, "items": "an item"},
    "users": [{"name": "Ann", "age": 30, "ok": True}, {"name": "bob", "age": 25}, {"name": "Cy", "age": 25, "ok": False}],
    "mixed": [1, "1", 1.0, True, None, [1], {"a": 1}],
}

# Separated by lines of dashes.
CASES = r"""
a {{ n }} b
---
  {% if t %}
    yes
  {% endif %}
x
---
a   {%- if t -%}   b   {%- endif -%}   c
---
a
  {%+ if t %}  b
  {%+ endif %}
c
---
a {{- n -}} b {{ n }}
c
---
{# comment #}
x {#- comment -#} y {#+ c +#}
 z
  {# lone #}
end
---
{% raw %}{{ not }} {% run %}{% endraw %}|
---
x
  {%- raw -%}
   {{ a }}
  {%- endraw -%}
  y
---
  {% raw %}
 b
  {% endraw %}
c
---
a
{% if t -%}
   b
{%- endif +%}
c
---
{{ 'a' }}
{{ 'b' }}

---
{%if t%}1{%else%}2{%endif%}{%   for x in l   %}{{x}}{%endfor%}
---
{{ "%}" }}{{ '}}' }}{{ {'a': {'b': 1}}['a']['b'] }}{{ {'a': {}} }}
---
{{-1}}|{{ -1 }}|{{+1}}|{{ - n }}
---
{{ 'a' 'b' "c" }}
---
{{ "\n\t\\\'\"\x41\u00e9\U0001F642\101\q" }}|{{ '\
' }}
---
{{ 1_000 }} {{ 0x1F }} {{ 0b101 }} {{ 0o17 }} {{ 1.5e3 }} {{ 1e5 }} {{ 1.0 }}
---
{{ 2. }}
---
{{ 012 }}
---
{{ 1.5 }}{{ l.1 }}{{ ll.0.1 }}
---
{{ true }} {{ True }} {{ false }} {{ none }} {{ None }}
---
{{ [1, 'a', none, true, 1.5, [], {}, (), (1,), (1, 2), {'k': 'v', 2: 3}] }}
---
{{ ["it's", 'say "x"', "both ' and \"", "back\\slash", "new\nline", "\x00\x1b\x7f\xa0\u200b🙂é"] }}
---
{{ 1.0 }} {{ 1e16 }} {{ 1e15 }} {{ 123456789012345680.0 }} {{ 0.1 }} {{ 1e-4 }} {{ 1e-5 }} {{ big }} {{ tiny }} {{ 3.0e100 }} {{ -0.0 }}
---
{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 // -2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }} {{ 7 / 2 }} {{ 6 / 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 2 ** 0.5 }} {{ -2 ** 2 }} {{ 2 ** 3 ** 2 }}
---
{{ 1 + 2 * 3 - 4 / 2 }} {{ (1 + 2) * 3 }} {{ n - -n }} {{ t + t }} {{ 1.5 + 1 }}
---
{{ 1 / 0 }}
---
{{ 1 // 0 }}
---
{{ 1 % 0 }}
---
{{ 'a' + 'b' }} {{ 'ab' * 3 }} {{ 3 * 'ab' }} {{ 'a' * -1 }}| {{ [1] + [2] }} {{ [1] * 2 }} {{ (1,) + (2,) }}
---
{{ 'a' + 1 }}
---
{{ 1 + 'a' }}
---
{{ [1] + (2,) }}
---
{{ none + 1 }}
---
{{ 'a' - 'b' }}
---
{{ 1 ~ 'a' ~ none ~ true ~ [1] ~ 1.5 ~ missing }}
---
{{ 1 ~ 2 + '3' }} {{ 2 * 3 ~ 4 }}
---
{{ 1 ~ 2 + 3 }}
---
{{ 1 < 2 }} {{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 3 > 2 >= 2 != 1 }} {{ 'a' < 'b' }} {{ 'B' < 'a' }} {{ [1, 2] < [1, 3] }} {{ 1 == 1.0 }} {{ 1 == true }} {{ '1' == 1 }} {{ none == false }}
---
{{ 1 < 'a' }}
---
{{ none < 1 }}
---
{{ [1] == [1] }} {{ {'a': 1} == {'a': 1.0} }} {{ (1,) == [1] }} {{ {'a': 1, 'b': 2} == {'b': 2, 'a': 1} }} {{ mixed == mixed }}
---
{{ 1 in l }} {{ 9 in l }} {{ 9 not in l }} {{ 'qu' in s }} {{ 'b' in d }} {{ 1 in d }} {{ '' in s }} {{ 'x' in missing }} {{ 1 in (1, 2) }} {{ not 1 in l }}
---
{{ 1 in 'abc' }}
---
{{ 1 in 5 }}
---
{{ [1] in d }}
---
{{ t and n }} {{ z and n }} {{ z or n }} {{ e or 'x' }} {{ not z }} {{ not n }} {{ t and not z or no }} {{ el or none }} {{ missing or 'm' }}
---
{{ 'a' if t else 'b' }} {{ 'a' if no else 'b' }} {{ 'a' if no }}| {{ 'a' if z else 'b' if z else 'c' }}
---
{{ ('a' if no).x }}
---
{{ missing }}|{{ missing is defined }}|{{ m.nope }}|{{ m.nope is defined }}|{{ m['nope'] is undefined }}
---
{{ missing.x }}
---
{{ m.nope.x }}
---
{{ m['nope']['x'] }}
---
{{ missing + 1 }}
---
{{ missing ~ 'a' }}{{ missing == missing2 }}{{ missing == none }}{{ missing|length }}{{ missing|list }}{% for x in missing %}x{% endfor %}
---
{{ missing < 1 }}
---
{{ -missing }}
---
{{ missing() }}
---
{{ missing[0] }}
---
{{ missing[1:] }}
---
{{ none.x }}|{{ none['x'] }}|{{ n.x }}|{{ 'abc'.nope }}|{{ l.nope }}|{{ l['x'] }}|{{ l[9] }}|{{ l[-1] }}|{{ l[true] }}|{{ s[0] }}|{{ s[99] }}|{{ d[0] }}|{{ l[1.0] }}
---
{{ none_value[1:] }}
---
{{ d[1:] }}
---
{{ s[1:5] }}|{{ s[:3] }}|{{ s[-3:] }}|{{ s[::-1] }}|{{ s[::2] }}|{{ s[5:1] }}|{{ s[5:1:-1] }}|{{ s[-100:100] }}|{{ l[1:] }}|{{ l[::-1] }}|{{ (1, 2, 3)[:2] }}|{{ u[0:6] }}|{{ u[-2:] }}|{{ s[:-1] }}|{{ l[:none] }}
---
{{ s[::0] }}
---
{{ s['a':] }}
---
{{ nested.x.y[1].z }} {{ nested['x']['y'][0] }} {{ nested.items is callable }} {{ nested['items'] }} {{ nested.get('items') }}
---
{{ u|length }} {{ u|upper }} {{ u|lower }} {{ u|title }} {{ u|capitalize }} {{ u|reverse }}
---
{{ s|upper }} {{ s|lower }} {{ 'hELLO wORLD-foo (bar) [baz]'|title }} {{ 'hELLO'|capitalize }} {{ ''|capitalize }}{{ ''|title }} {{ n|upper }} {{ none|lower }} {{ missing|upper }}
---
[{{ w|trim }}] [{{ 'xxaxx'|trim('x') }}] [{{ '\x1c\x85\u3000a\u2003'|trim }}] [{{ n|trim }}]
---
{{ 'aXbXc'|replace('X', '-') }} {{ 'aXbXc'|replace('X', '-', 1) }} {{ 'aaa'|replace('', '.') }} {{ 'aaaa'|replace('aa', 'b') }} {{ 121|replace(1, 'x') }} {{ s|replace('q', missing) }}
---
{{ m|tojson }}
---
{{ messages|tojson }}
---
{{ messages|tojson(indent=2) }}
---
{{ mixed|tojson(indent=4) }} {{ el|tojson(indent=2) }} {{ ed|tojson(indent=1) }} {{ ll|tojson(indent=0) }} {{ ll|tojson(indent='\t') }}
---
{{ u|tojson }} {{ u|tojson(ensure_ascii=true) }} {{ "\x00\x1f\x7f\u2028\"\\/\b\f\n\r\t"|tojson }}
---
{{ d|tojson(sort_keys=true) }} {{ d|tojson(separators=(',', ':')) }} {{ d|tojson(separators=[' , ', ' : '], indent=1) }} {{ d|tojson(true) }}
---
{{ {1: 2, true: 3, none: 4, 1.5: 5}|tojson }} {{ (1, 2)|tojson }} {{ 1e22|tojson }} {{ 1.0|tojson }} {{ none|tojson }} {{ true|tojson }} {{ 'a'|tojson }}
---
{{ missing|tojson }}
---
{{ {(1, 2): 3}|tojson }}
---
{{ range(3)|tojson }}
---
{{ d.items()|tojson }}
---
{{ missing|default('x') }} {{ none_value|default('x') }} {{ none_value|default('x', true) }} {{ e|default('x', boolean=true) }} {{ e|default('x') }} {{ missing|d }}| {{ m.nope|default(m.role) }}
---
{{ l|length }} {{ d|length }} {{ s|count }} {{ ''|length }}
---
{{ n|length }}
---
{{ none|length }}
---
{{ l|join }} {{ l|join(', ') }} {{ ls|join('-') }} {{ users|join(',', attribute='name') }} {{ s|join('.') }} {{ [1, none, true, missing]|join('|') }} {{ [[1], {'a': 'b'}]|join(' ') }} {{ d|join }}
---
{{ n|join }}
---
{{ ls|map('upper')|list }} {{ users|map(attribute='name')|join(',') }} {{ users|map(attribute='ok', default='?')|list }} {{ users|map(attribute='nope')|list }} {{ ls|map('replace', 'a', 'x')|join }} {{ nested.x|map('length')|list }} {{ ll|map(attribute=0)|list }} {{ ll|map(attribute='1')|list }} {{ ll|map('join', '+')|list }}
---
{{ [nested]|map(attribute='x.y.1.z')|list }}
---
{{ ls|map('nope')|list }}
---
{{ users|selectattr('ok')|map(attribute='name')|list }} {{ users|selectattr('age', 'equalto', 25)|list|length }} {{ users|selectattr('ok', 'defined')|list|length }} {{ users|rejectattr('ok')|list|length }} {{ users|selectattr('name', 'in', ['Ann', 'Cy'])|map(attribute='age')|list }} {{ users|rejectattr('age', '==', 25)|list }} {{ users|selectattr('age', '>', 26)|list }}
---
{{ [1, 2, 3, 4]|select('odd')|list }} {{ [1, 2, 3, 4]|reject('even')|list }} {{ [0, 1, '', 'a', none]|select|list }} {{ [0, 1, '', 'a', none]|reject|list }} {{ [1, 2, 3]|select('divisibleby', 3)|list }} {{ mixed|select('string')|list }} {{ mixed|reject('none')|list }} {{ [1, 5]|select('gt', 3)|list }}
---
{{ 'gen' if [1]|select('odd') }} {{ 'gen' if [1]|select('even') }} {{ 'gen' if []|select('even') }}
---
{% set g = [1, 2]|map('string') %}{{ g|list }}{{ g|list }}
---
{{ [1, 2]|select('odd')|length }}
---
{{ ([1, 2]|select('odd'))[0] }}|{{ [1, 3]|select('odd')|first }}
---
{{ [1, 2]|select('odd')|last }}
---
{{ s|list }} {{ d|list }} {{ (1, 2)|list }} {{ range(4)|list }} {{ d.items()|list }} {{ d.keys()|list }} {{ d.values()|list }}
---
{{ n|list }}
---
{{ n|string + 'a' }} {{ none|string }} {{ l|string }} {{ missing|string }}|
---
{{ '42'|int }} {{ ' 42 '|int }} {{ '42.9'|int }} {{ 'x'|int }} {{ 'x'|int(5) }} {{ 'x'|int(default=-1) }} {{ 2.9|int }} {{ -2.9|int }} {{ true|int }} {{ none|int }} {{ '0x1f'|int(base=16) }} {{ '1_000'|int }} {{ '1e3'|int }} {{ '-7'|int }} {{ l|int }} {{ '101'|int(0, 2) }} {{ 'inf'|int }}
---
{{ missing|int }}
---
{{ '4.5'|float }} {{ 'x'|float }} {{ 'x'|float(1.5) }} {{ 3|float }} {{ ' 1e3 '|float }} {{ none|float }} {{ 'nan'|float }} {{ '-inf'|float }} {{ '.5'|float }} {{ '5.'|float }} {{ true|float }}
---
{{ l|first }} {{ l|last }} {{ s|first }} {{ s|last }} {{ el|first }}| {{ el|last }}| {{ d|first }} {{ d|last }} {{ e|first }}|
---
{{ (el|first).x }}
---
{{ l|reverse|list }} {{ 'abc'|reverse }} {{ (1, 2)|reverse|list }} {{ d|reverse|list }} {{ range(3)|reverse|list }}
---
{{ l|sort }} {{ ls|sort }} {{ ls|sort(case_sensitive=true) }} {{ l|sort(reverse=true) }} {{ users|sort(attribute='age')|map(attribute='name')|list }} {{ users|sort(attribute='age,name', reverse=true)|map(attribute='name')|list }} {{ s|sort|join }} {{ d|sort }}
---
{{ mixed|sort }}
---
{{ ['a', 'A', 'b', 'a']|unique|list }} {{ ['a', 'A']|unique(true)|list }} {{ users|unique(attribute='age')|map(attribute='name')|list }} {{ [1, 1.0, true, 2]|unique|list }}
---
{{ [[1]]|unique|list }}
---
{{ d|items|list }} {% for k, v in d|items %}{{ k }}={{ v }};{% endfor %} {{ missing|items|list }}
---
{{ l|items|list }}
---
{{ d|dictsort }} {{ d|dictsort(true) }} {{ d|dictsort(by='value') }} {{ d|dictsort(reverse=true) }} {{ d|dictsort(false, 'value', true) }}
---
{{ l|dictsort }}
---
{{ missing|dictsort }}
---
{{ '<a>'|safe }} {{ '<a>'|escape }} {{ '<a href="x">\'&'|e }} {{ '<a>'|e|e }} {{ '<a>'|e|forceescape }} {{ '<a>'|safe + '<b>' }} {{ '<b>' + '<a>'|safe }} {{ ('<a>'|safe) ~ '<b>' }} {{ '<%s>'|safe % '<x>' }} {{ '<{}>'|safe|string }} {{ ('<{}>'|safe).format('<x>') }} {{ ('<'|safe).join(['<', 'a'|safe]) }}
---
{{ ['<a>'|safe, 'b'] }} {{ '<a>'|safe|upper }} {{ ('<a> <b>'|safe).split() }}
---
{{ 'a\nb\n\nc'|indent }}|{{ 'a\nb\n\nc'|indent(2, true) }}|{{ 'a\nb\n\nc'|indent(2, first=false, blank=true) }}|{{ 'a\nb'|indent('--') }}|{{ ''|indent }}|{{ 'a\n'|indent }}|{{ lines|indent(1) }}
---
{{ n|indent }}
---
{{ 2.5|round }} {{ 3.5|round }} {{ 2.675|round(2) }} {{ 2.1|round(0, 'ceil') }} {{ 2.9|round(method='floor') }} {{ 5|round }} {{ 1234.5|round(-2) }} {{ -2.5|round }} {{ 0.5|round }} {{ 2.55|round(1) }} {{ 1e300|round(5) }} {{ 42.55|round(1, 'floor') }}
---
{{ 'a'|round }}
---
{{ -5|abs }} {{ 2.5|abs }} {{ -2.5|abs }} {{ neg|abs }} {{ true|abs }}
---
{{ 'a'|abs }}
---
{{ l|sum }} {{ users|sum(attribute='age') }} {{ l|sum(start=10) }} {{ [1.5, 2]|sum }} {{ el|sum }} {{ ll|sum(start=[]) }}
---
{{ ls|sum }}
---
{{ l|min }} {{ l|max }} {{ ls|min }} {{ ls|max }} {{ el|max }}| {{ users|max(attribute='age') }} {{ users|min(attribute='name') }} {{ ['a', 'B']|max(case_sensitive=true) }}
---
{{ [1, 2, 3, 4, 5]|batch(2)|list }} {{ [1, 2, 3]|batch(2, 0)|list }} {{ [1, 2, 3, 4, 5]|slice(2)|list }} {{ [1, 2, 3, 4]|slice(3, 'x')|list }}
---
{{ 'one two  three-four'|wordcount }} {{ 'x'|center(5) }}| {{ 'xy'|center(5) }}| {{ 'foo bar baz qux'|truncate(9) }} {{ 'foo bar baz qux'|truncate(9, true) }} {{ 'foo bar baz qux'|truncate(11) }} {{ 'foo bar baz qux'|truncate(11, false, '..', 0) }}
---
{{ 'a b/ü?&='|urlencode }}
---
{{ '%s-%d-%5.2f|%-5s|%05d|%x|%X|%o|%e|%g|%%|%c|%r|%i|%+d|% d|%#x' % ('a', 42, 3.14159, 'ab', 42, 255, 255, 8, 12345.678, 0.0001, 'z', 'q', 3, 5, 5, 255) }}
---
{{ '%s' % 'a' }} {{ '%s' % [1, 2] }} {{ '%(a)s %(b)05.1f' % {'a': 'x', 'b': 2} }} {{ '%d' % 3.9 }} {{ '%s %s' % ('a', none) }} {{ '%5s|%-5s|%.2s' % ('abc', 'abc', 'abc') }} {{ '%*d' % (5, 42) }} {{ '%c' % 65 }} {{ '%s' % missing }}
---
{{ '%s %s' % 'a' }}
---
{{ '%s' % ('a', 'b') }}
---
{{ '%d' % 'a' }}
---
{{ 'x' % 'a' }}
---
{{ '%y' % 1 }}
---
{{ 'x' % {} }}{{ 'x' % [] }}{{ 'x' % () }}
---
{{ '%s is %d'|format('a', 3) }} {{ '%(x)s'|format(x=5) }}
---
{{ '{} {}'.format(1, 'a') }} {{ '{0} {1} {0}'.format('x', 'y') }} {{ '{a} {b}'.format(a=1, b=[1]) }} {{ '{{}} {}'.format(1) }} {{ '{0[a]} {0.role} {1[0]}'.format(m, l) }} {{ '{!r} {!s}'.format('a', 'b') }} {{ '{a[x][y][0]}'.format(a=nested) }}
---
{{ '{:5}|{:<5}|{:>5}|{:^5}|{:*^7}|{:05d}|{:+d}|{:x}|{:#x}|{:b}|{:,}|{:_}|{:.2f}|{:8.3f}|{:e}|{:g}|{:%}|{:.1%}|{:c}|{:s}|{:.2}|{: d}'.format('a', 'b', 'c', 'd', 'e', 42, 42, 255, 255, 5, 1234567, 1234567, 3.14159, 3.14159, 1234.5, 1234.5, 0.25, 0.256, 65, 'str', 'abc', 5) }}
---
{{ '{:>{}}|{:{w}.{p}f}'.format('a', 5, 3.14159, w=8, p=2) }} {{ '{:,.2f}'.format(1234567.891) }} {{ '{:010.3f}'.format(-3.14159) }} {{ '{:5}'.format(42) }}| {{ '{:5}'.format(true) }}| {{ '{}'.format(none) }} {{ '{:.3}'.format(3.14159) }} {{ '{}'.format(1.0) }} {{ '{:d}'.format(true) }}
---
{{ '{} {}'.format(1) }}
---
{{ '{x}'.format(1) }}
---
{{ '{'.format(1) }}
---
{{ '}'.format(1) }}
---
{{ '{:d}'.format('a') }}
---
{{ '{:5}'.format(none) }}
---
{{ '{:z}'.format(1) }}
---
{{ '{a}-{b}'.format_map({'a': 1, 'b': 2}) }}
---
{{ s.upper() }} {{ s.lower() }} {{ s.title() }} {{ 'they\'re bill-s'.title() }} {{ s.capitalize() }} {{ s.swapcase() }} {{ u.upper() }} {{ u.title() }} {{ u.swapcase() }}
---
[{{ w.strip() }}] [{{ w.lstrip() }}] [{{ w.rstrip() }}] [{{ 'xyaxy'.strip('xy') }}] [{{ 'xyaxy'.lstrip('yx') }}] [{{ 'xyaxy'.rstrip('y') }}] [{{ 'a'.strip('') }}] [{{ w.strip(none) }}]
---
{{ s.split() }} {{ s.split(',') }} {{ s.split(' ', 1) }} {{ ' a  b '.split() }} {{ ' a  b '.split(' ') }} {{ 'a,b,c'.rsplit(',', 1) }} {{ ' a b c '.split(none, 1) }} {{ ' a b c '.rsplit(none, 1) }} {{ 'abc'.split('x') }} {{ ''.split() }} {{ ''.split(',') }} {{ 'a--b--c'.split('--') }} {{ 'a,b,c'.split(',', maxsplit=1) }} {{ 'aXbXc'.split(sep='X') }} {{ 'aaa'.rsplit('aa') }} {{ 'a b c d'.rsplit() }}
---
{{ 'a'.split('') }}
---
{{ lines.splitlines() }} {{ lines.splitlines(true) }} {{ ''.splitlines() }} {{ 'a\n\nb'.splitlines(keepends=true) }}
---
{{ s.startswith('The') }} {{ s.startswith(('x', 'The')) }} {{ s.endswith('Fox') }} {{ s.endswith('') }} {{ s.startswith('quick', 4) }} {{ s.startswith('The', 1) }} {{ s.endswith('quick', 0, 9) }} {{ ''.startswith('') }} {{ 'abc'.startswith('', 4) }} {{ 'abc'.startswith('b', -2) }}
---
{{ s.startswith(1) }}
---
{{ s.startswith(['The']) }}
---
{{ s.replace('quick', 'slow') }} {{ 'aaa'.replace('a', 'b', 2) }} {{ 'abc'.replace('', '-') }} {{ 'abc'.replace('', '-', 2) }}
---
{{ s.find('quick') }} {{ s.find('x', 5) }} {{ s.find('zzz') }} {{ s.rfind(' ') }} {{ s.index('b') }} {{ 'aaa'.count('a') }} {{ 'aaaa'.count('aa') }} {{ 'abc'.count('') }} {{ 'abc'.find('') }} {{ 'abc'.rfind('') }} {{ 'abc'.find('c', 0, 2) }} {{ 'abc'.find('b', -2) }} {{ 'abcabc'.rfind('b', 0, 4) }} {{ 'aaa'.count('a', 1) }} {{ 'abc'.find('', 9) }}
---
{{ s.index('zzz') }}
---
{{ s.rindex('zzz') }}
---
{{ '-'.join(['a', 'b']) }} {{ ''.join('abc') }} {{ ','.join(d) }} {{ ', '.join(ls|map('upper')) }}
---
{{ '-'.join([1, 2]) }}
---
{{ 'abc'.isalpha() }} {{ 'ab1'.isalnum() }} {{ '123'.isdigit() }} {{ '1.5'.isdigit() }} {{ ''.isdigit() }} {{ ' \t'.isspace() }} {{ 'ABC'.isupper() }} {{ 'abc1'.islower() }} {{ 'Abc Def'.istitle() }} {{ '²'.isdigit() }} {{ '²'.isdecimal() }} {{ '½'.isnumeric() }} {{ 'a_1'.isidentifier() }} {{ '1a'.isidentifier() }} {{ 'a\n'.isprintable() }} {{ 'é'.isascii() }} {{ '你'.isalpha() }} {{ '123'.isupper() }} {{ 'aBc'.istitle() }}
---
{{ 'a'.ljust(3) }}| {{ 'a'.rjust(3, '.') }} {{ 'a'.center(4) }}| {{ '42'.zfill(5) }} {{ '-42'.zfill(5) }} {{ 'abc'.center(4, '*') }} {{ 'ab'.center(5, '*') }}
---
{{ 'key=val=x'.partition('=') }} {{ 'key=val=x'.rpartition('=') }} {{ 'abc'.partition('=') }} {{ 'abc'.rpartition('=') }} {{ 'prefix-x'.removeprefix('prefix-') }} {{ 'x.py'.removesuffix('.py') }} {{ 'x'.removesuffix('') }}
---
{{ 'a'.nope() }}
---
{{ 'a'.upper(1) }}
---
{{ d.items() }} {{ d.keys() }} {{ d.values() }} {{ d.get('a') }} {{ d.get('x') }} {{ d.get('x', 5) }} {{ d.items()|length }} {{ 'a' in d.keys() }} {{ 1 in d.values() }} {{ ('a', 2) in d.items() }} {{ d.copy() }}
---
{% for k, v in d.items() %}{{ k }}={{ v }}{% if not loop.last %},{% endif %}{% endfor %}
---
{{ d.items()[0] }}|{{ d.keys() is sequence }}|{{ d.keys() is iterable }}|{{ d.items() is mapping }}
---
{{ d.keys()[1:] }}
---
{{ d.pop('a') }}
---
{{ d.update({'x': 1}) }}
---
{{ d.pop is defined }}{{ l.append is defined }}{{ d.setdefault is defined }}{{ l.index is defined }}{{ l.copy is callable }}{{ d.get is callable }}
---
{{ l.append(4) }}
---
{% do l.append(4) %}
---
{% set _ = l.append(4) %}
---
{{ l.index(1) }} {{ l.count(3) }} {{ (1, 2, 1).count(1) }} {{ (1, 2).index(2) }}
---
{{ l.index(9) }}
---
{% set ns = namespace(x=1, y='a') %}{% for i in l %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}{{ ns.y }}{{ ns.nope is defined }}{{ ns['x'] }}
---
{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns.b }}{% set ns.a, ns.b = 5, 6 %}{{ ns.a }}{{ ns.b }}{{ ns is mapping }}
---
{% set d.x = 1 %}
---
{% set ns = namespace(_x=1) %}
---
{% set missing.x = 1 %}
---
{% set x = 1 %}{% for i in l %}{% set x = x + 1 %}{{ x }}{% endfor %}{{ x }}
---
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set (c, (e1, f1)) = (3, (4, 5)) %}{{ c }}{{ e1 }}{{ f1 }}{% set q = 1, %}{{ q }}
---
{% set a, b = [1] %}
---
{% set a, b = 1 %}
---
{% set x %}  hello {{ n }} {% endset %}[{{ x }}]{{ x|length }}{{ x is string }}
---
{% set x | upper | trim %}  hello {{ n }} {% endset %}[{{ x }}]
---
{% set x %}{% set y = 5 %}{{ y }}{% endset %}{{ x }}{{ y is defined }}
---
{% if t %}{% set x = 5 %}{% endif %}{{ x }}{% if no %}{% set y = 5 %}{% endif %}{{ y is defined }}
---
{% if no %}a{% elif z %}b{% elif n %}c{% else %}d{% endif %}
---
{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.cycle('o', 'e') }};{% endfor %}
---
{% for x in l if x > 1 %}{{ x }}{{ loop.index }}/{{ loop.length }}{{ loop.last }}{{ loop.nextitem is defined }};{% else %}none{% endfor %}
---
{% for x in el %}x{% else %}empty{% endfor %}{% for x in l if x > 9 %}x{% else %}none{% endfor %}
---
{% for x in [1, 1, 2, 2, 1] %}{% if loop.changed(x) %}{{ x }}{% endif %}{% endfor %}
---
{% for a, b in [[1, 2], [3, 4]] %}{{ a }}{{ b }}{% endfor %}{% for (a, b), c in [[[1, 2], 3]] %}{{ a }}{{ b }}{{ c }}{% endfor %}{% for a, b in ['xy', 'zw'] %}{{ b }}{% endfor %}
---
{% for a, b in [1, 2] %}{% endfor %}
---
{% for c in 'abc' %}{{ c }}.{% endfor %}{% for k in d %}{{ k }}{% endfor %}{% for i in range(2, 8, 3) %}{{ i }}{% endfor %}{% for i in 1, 2 %}{{ i }}{% endfor %}
---
{% for x in 5 %}{% endfor %}
---
{% for x in none %}{% endfor %}
---
{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}|{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}
---
{% break %}
---
{% for x in l %}{% macro f() %}{% break %}{% endmacro %}{% endfor %}
---
{% set ns = namespace(stop=false) %}{% for x in [1, 2, 3, 4] if not ns.stop %}{{ x }}{% if x == 2 %}{% set ns.stop = true %}{% endif %}{% endfor %}
---
{% for item in [{'v': 1, 'c': [{'v': 2, 'c': []}, {'v': 3, 'c': [{'v': 4, 'c': []}]}]}] recursive %}{{ loop.depth }}:{{ item.v }}{% if item.c %}({{ loop(item.c) }}){% endif %}{% endfor %}
---
{% for x in l %}{{ loop(l) }}{% endfor %}
---
{% for x in l %}{% for y in ls %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}{{ loop is defined }}
---
{% for x in l %}{% set loop = 1 %}{% endfor %}
---
{% for x in l %}{% endfor %}{{ x is defined }}
---
{% set x = 9 %}{% for x in l %}{{ x }}{% endfor %}{{ x }}
---
{% macro f(a, b=2, c='x') %}{{ a }}{{ b }}{{ c }};{% endmacro %}{{ f(1) }}{{ f(1, 3) }}{{ f(1, c='y') }}{{ f(b=5, a=4) }}{{ f() }}
---
{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}
---
{% macro f(a) %}{{ a }}{% endmacro %}{{ f(x=2) }}
---
{% macro f(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, 3, x=4) }}{{ f(1) }}
---
{% macro f(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ f(1) }}{{ f(1, 2) }}
---
{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}
---
{% macro f() %}{{ x }}{% set x = 5 %}{% endmacro %}{% set x = 1 %}{{ f() }}{% set x = 2 %}{{ f() }}{{ x }}
---
{% macro f() %} a {{ caller() }} b {% endmacro %}{% call f() %}inner {{ n }}{% endcall %}
---
{% macro f(items) %}{% for i in items %}{{ caller(i, loop.index) }}{% endfor %}{% endmacro %}{% call(i, k=0) f(l) %}<{{ i }}:{{ k }}>{% endcall %}
---
{% macro f() %}{{ caller is defined }}{% endmacro %}{{ f() }}
---
{% macro f() %}x{% endmacro %}{% call f() %}y{% endcall %}
---
{{ f() }}{% macro f() %}x{% endmacro %}
---
{% macro f() %}x{% endmacro %}{{ f is defined }}{{ f is callable }}{{ f()|upper }}{{ f() + 'y' }}{% set g = f %}{{ g() }}
---
{% macro outer() %}{% macro inner() %}i{% endmacro %}{{ inner() }}{% endmacro %}{{ outer() }}{{ inner is defined }}
---
{% macro f(a, b=1, c) %}{% endmacro %}
---
{% filter upper %}abc {{ s }}{% endfilter %}{% filter replace('a', 'x')|trim %} banana {% endfilter %}
---
{% with a=1, b=n %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q is defined }}
---
{% generation %}abc{{ n }}{% set q = 1 %}{% endgeneration %}{{ q is defined }}
---
{% for x in l %}{% generation %}{{ x }}{{ loop.index }}{% endgeneration %}{% endfor %}
---
{% block a %}x{{ n }}{% endblock %}{% block b %}y{% endblock b %}
---
{% print n, s %}
---
{{ strftime_now('%Y-%m-%d %H:%M:%S %d %b %Y %B %A %j %y %I %p %% %-d') }}
---
{{ raise_exception('no ' ~ n) }}
---
{% if no %}{{ raise_exception('x') }}{% endif %}ok
---
{{ range(3) }} {{ range(1, 3) }} {{ range(0, 9, 3) }} {{ range(3)|list }} {{ range(5, 0, -2)|list }} {{ range(3)[1] }} {{ range(3)|length }} {{ range(3) is sequence }} {{ 2 in range(3) }} {{ range(5)[1:3]|list }} {{ range(-1)|list }}
---
{{ range(1000000) }}
---
{{ range(0, 5, 0) }}
---
{{ dict(a=1, b=2) }} {{ dict({'x': 1}, y=2) }} {{ dict([['a', 1]]) }} {{ dict() }}
---
{% set j = joiner('; ') %}{% for x in l %}{{ j() }}{{ x }}{% endfor %}{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() }}{{ c.next() }}
---
{{ 1 is defined }} {{ missing is undefined }} {{ none is none }} {{ 's' is string }} {{ d is mapping }} {{ l is sequence }} {{ s is sequence }} {{ d is sequence }} {{ n is sequence }} {{ l is iterable }} {{ n is iterable }} {{ missing is iterable }} {{ missing is sequence }} {{ none is iterable }}
---
{{ 1 is number }} {{ true is number }} {{ 1.5 is number }} {{ '1' is number }} {{ 1 is integer }} {{ true is integer }} {{ 1.0 is integer }} {{ 1.0 is float }} {{ 1 is float }} {{ true is boolean }} {{ 1 is boolean }} {{ true is true }} {{ 1 is true }} {{ false is false }} {{ 0 is false }}
---
{{ 3 is odd }} {{ 4 is even }} {{ 9 is divisibleby 3 }} {{ 9 is divisibleby(2) }} {{ 'abc' is lower }} {{ 'ABC' is upper }} {{ 1 is eq 1 }} {{ 1 is equalto(1) }} {{ 1 is ne 2 }} {{ 1 is lt 2 }} {{ 2 is gt(1) }} {{ 1 is le 1 }} {{ 1 is ge 2 }} {{ 1 is in [1, 2] }} {{ 'a' is in 'abc' }} {{ none is sameas none }} {{ true is sameas true }} {{ n is callable }} {{ 'upper' is filter }} {{ 'odd' is test }} {{ 'nope' is filter }} {{ ('a'|safe) is escaped }}
---
{{ 1 is not none }} {{ missing is not defined }} {{ not missing is defined }} {{ n is defined and n is not string }} {{ 1 is not in [2] }} {{ m.role is defined and m.role == 'user' }}
---
{{ 'a' is odd }}
---
{{ missing is odd }}
---
{{ 1 is nope }}
---
{{ 1|nope }}
---
{% if no %}{{ 1|nope }}{% endif %}ok
---
{{ (1|nope) if no else 'ok' }}
---
{% if no %}{% for x in l %}{{ 1|nope }}{% endfor %}{% endif %}ok
---
{% if t %}{{ 1|nope }}{% endif %}
---
{{ 1 is string is defined }}
---
{% if %}{% endif %}
---
{% if t %}
---
{% endif %}
---
{% for x l %}{% endfor %}
---
{{ }}
---
{{ 1 + }}
---
{{ (1 }}
---
{{ 1) }}
---
{{ [1, }}
---
{{ 'abc }}
---
{{ a.b.%}}
---
{% unknown %}
---
{% include 'x' %}
---
{# never ends
---
{% raw %} never ends
---
{{ 1 if }}
---
{{ a = 1 }}
---
{% set 1 = 2 %}
---
{% set true = 2 %}
---
{{ [1, 2, ] }}{{ (1, 2, ) }}{{ {'a': 1, } }}{{ dict(a=1, ) }}
---
{{ s.split(',')[0].upper()|lower|replace('t', 'T') }} {{ (n + 1)|string ~ 'x' }} {{ -n|abs }} {{ 2 ** 2|int }} {{ not t|string == 'x' }} {{ l|length > 2 and s|length < 100 }}
---
{{ l[0] + l[-1] * 2 }} {{ d['a'] }} {{ d.a }} {{ users[0]['name'][0] }} {{ (users|first).name }} {{ {'a': 1}.a }} {{ [1, 2][0] }} {{ 'abc'[1] }} {{ ('a', 'b')[1] }} {{ 'a,b'.split(',')|first }}
---
{{ d[[1]] }}|{{ d[('a',)] }}|{{ d[none] }}|{{ {none: 1}[none] }}|{{ {1: 'a'}[true] }}|{{ {1: 'a'}[1.0] }}|{{ {(1, 2): 'x'}[1, 2] }}
---
{{ {[1]: 2} }}
---
{{ {'a': 1, 'a': 2, 'b': 3} }} {{ {1: 'a', 1.0: 'b', true: 'c'} }}
---
{{ f(*[1, 2]) if no }}{% macro f(a, b, c=0) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ f(*[1, 2]) }}{{ f(1, **{'b': 5, 'c': 6}) }}{{ f(*[1], b=2) }}
---
{{ f(a=1, 2) }}
---
{{ f(1, a=1, a=2) }}
---
{{ 1 if t else 2 if no else 3 }} {{ (1 if t else 2) + 1 }}
---
{{ [x for x in l] }}
---
{{ m.role }}:{{ m['content'] | trim }}|{{ messages[0].content }}|{{ messages[-1]['content'] }}|{{ messages[1:]|length }}|{{ messages|map(attribute='role')|join(',') }}
---
{{ messages[2].tool_calls[0].function.arguments }} {{ messages[2].tool_calls[0].function.arguments|tojson }} {{ messages[2].content is none }} {{ messages[2].content }}
---
{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + (message['content'] or '') + '\n' }}{% endfor %}
---
{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}{% set loop_messages = messages[1:] %}{% else %}{% set loop_messages = messages %}{% endif %}{{ system }}{{ loop_messages|length }}
---
{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ loop.index0 }}{% endif %}{% endfor %}
---
{{ loop }}{{ ns }}
---
{{ 9223372036854775807 }} {{ 9223372036854775806 + 1 }} {{ -9223372036854775807 - 1 }}
---
{{ n.__class__ }}|{{ ''.__class__ is defined }}|{{ d.__len__ is defined }}|{{ ''['__class__'] is defined }}
---
{{ ''.__class__.__mro__ }}
---
{{ users|attr('x') is defined }}{{ m|attr('role') is defined }}{{ m|attr('items') is callable }}{{ 'a'|attr('upper') is callable }}
---
{{ 'x' if '' else 'y' }}{{ 'x' if 0.0 else 'y' }}{{ 'x' if ' ' else 'y' }}{{ 'x' if [0] else 'y' }}{{ 'x' if {} else 'y' }}{{ 'x' if () else 'y' }}{{ 'x' if none else 'y' }}{{ 'x' if range(0) else 'y' }}
---
{{ s | truncate(5) | upper }}{{- s -}}{{ s }}
---
{%- set content -%}
    {%- if t -%}
        {{- 'yes' -}}
    {%- endif -%}
{%- endset -%}
[{{ content }}]
---
{%- macro render(d, depth=0) -%}
{%- for k, v in d.items() -%}
{{ '  ' * depth ~ k }}:{% if v is mapping %}{{ '\n' ~ render(v, depth + 1) }}{% else %}{{ ' ' ~ v ~ '\n' }}{% endif -%}
{%- endfor -%}
{%- endmacro -%}
{{ render({'a': {'b': {'c': 1}}, 'x': [1, 'y']}) }}
---
{{ users|map(attribute='age')|sum / users|length }} {{ users|map(attribute='age')|list|max }} {{ (l|sort)[0] }} {{ l|sort|first }} {{ l|map('string')|join(' + ') }}
---
{{ 'x'|default('y')|upper ~ ('a' if t) ~ missing|default('z') }} {{ (missing|default({})).get('a', 'none') }} {{ missing is defined and missing.x }}
---
{{ '{"a": 1}'|tojson }} {{ ({'a': 'ü"'}|tojson)|length }} {{ {'a': {'b': [1, {}, []]}}|tojson(indent=2) }}
---
{{ messages|selectattr('role', 'equalto', 'tool')|list|length }} {{ messages|selectattr('tool_calls')|list|length }} {{ (messages|selectattr('role', 'in', ['user', 'tool'])|list)[-1].name }}
---
{{ namespace(a=1).a }}
---
{{ cycler() }}
---
{{ u.title() }}|{{ 'ŉǰΐ'|upper }}|{{ 'ǅ'.swapcase() }}|{{ 'ΑΣ ΑΣΑ Σ'.lower() }}|{{ 'ıſ'.upper() }}
"""

EXTRA = [
    ("a\r\nb\r\n{% if t %}\r\nc\r\n{% endif %}\r\n", {}),
    ("{{ x }}", {"x": "\r\n"}),
    ("ends with a newline\n", {}),
    ("ends with two newlines\n\n", {}),
    ("{{ x }}", {"x": 1.0}),
    ("{{ x }}", {"x": 123456789.123}),
    ("{{ x }} {{ x + 1 }}", {"x": 2**53}),
    ("   {{ 1 }}", {}),
    ("   {% set x = 1 %}   {{ x }}", {}),
    ("{% for i in range(2) %}\n  {{ i }}\n{% endfor %}\n", {}),
    ("{% for i in range(2) -%}\n  {{ i }}\n{%- endfor %}\n", {}),
    ("{%- for i in range(2) %}\n  {{ i }}\n  {%- endfor %}\n", {}),
    ("\n\n{%- if true %}\n\nx\n\n{%- endif %}\n\n", {}),
    ("{{ '\\ud83d' is string }}", {}),
    ("\t {# c #}\n x", {}),
    ("a {# c #}\n x", {}),
    ("{% raw -%}  {{ x }}  {%- endraw %}\ny", {}),
    ("{{ x }}", {"x": {"ключ": ["значение", "'"]}}),
]


def main():
    render_time = type("Time", (datetime.datetime,), {"now": classmethod(lambda cls: NOW)})
    chat_template_utils.datetime = render_time
    cases = [(text.strip("\n"), C) for text in CASES.split("\n---\n")]
    result = []
    for template, variables in cases + EXTRA:
        used = {k: v for k, v in variables.items() if k in template}
        try:
            compiled = chat_template_utils._compile_jinja_template(template)
            output = compiled.render(**used)
            output.encode()
        except Exception:  # whatever Python raises
            output = None
        result.append([template, used, output])
    OUTPUT.parent.mkdir(exist_ok=True)
    lines = [json.dumps(case, ensure_ascii=False, separators=(",", ":")) for case in result]
    OUTPUT.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    print(len(result), "cases,", sum(case[2] is None for case in result), "errors,", OUTPUT.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
