"""Who is there: the box at the top right of every page.

The password goes to the station and is kept nowhere; the token that comes back is kept in this
browser session only. What its holder may do is the station's to say, every time.
"""

from __future__ import annotations

import streamlit as st

from inspection.errors import InspectionError
from ui.actions import NoAnswer, NotSent
from ui.markup import code, div
from ui.views.shared import Shared, begin, counter, forget, person, show
from ui.words import say

LONGEST = 64


def box(shared: Shared) -> None:
    """Log in, or see who has and log out."""
    session = person()
    with st.popover(say("login") if session is None else code(session.user), key="login"):
        if shared.station is None:
            show(div("hint", say("login.nowhere")))
        elif session is None:
            _form(shared)
        else:
            show(
                div("hint", say("login.roles", roles=", ".join(sorted(session.roles)))),
                div("hint", say("login.memory")),
            )
            st.button(say("logout"), key="logout", on_click=forget)


def _form(shared: Shared) -> None:
    with st.form("login-form", border=False, clear_on_submit=True):
        st.text_input(say("login.user"), key="login-user", max_chars=LONGEST)
        st.text_input(
            say("login.password"),
            key="login-password",
            type="password",
            max_chars=200,
            autocomplete="current-password",
        )
        st.form_submit_button(say("login"), on_click=_log_in, args=(shared,), width="stretch")
    if told := st.session_state.pop("login-told", ""):
        show(div("alarm", told))


def _log_in(shared: Shared) -> None:
    begin()
    user = st.session_state.get("login-user", "").strip()
    password = st.session_state.get("login-password", "")
    speaks = counter(shared)
    if not user or not password or speaks is None:
        st.session_state["login-told"] = say("login.incomplete")
        return
    try:
        st.session_state.person = speaks.login(user, password)
    except (NotSent, NoAnswer):
        text = say("login.unreachable")
        st.session_state["login-told"] = say("login.refused", text=text)
    except InspectionError as error:
        st.session_state["login-told"] = say("login.refused", text=str(error))
