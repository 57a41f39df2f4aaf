"""The language of a playbook's conditions: read, checked and evaluated without running any code.

``docs/playbook.md`` has the grammar. A condition is text of an untrusted file, so everything is
bounded: its length, its tokens, its depth. It has no loops, no assignment and no way to make a text
longer, so its evaluation is bounded as well.
"""
