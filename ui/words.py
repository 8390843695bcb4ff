"""What is said to people, in English and German: every text of every page, from this one table.

A verdict is always a word with a mark, so that its colour is never the only sign of it. The words
of verdicts (OK, NOK, REVIEW ...) are the same in every language, because they are what the PLC, the
logs and the drawings say.
"""

from __future__ import annotations

import math
from contextvars import ContextVar
from datetime import datetime
from typing import NamedTuple

from inspection.messages import Reason, RunVerdict, Severity, Verdict

LANGUAGES = {"en": "English", "de": "Deutsch"}
_language: ContextVar[str] = ContextVar("language", default="en")


def speak(language: str) -> None:
    """The language of what this thread says from now on. Every run of a page begins with it."""
    _language.set(language if language in LANGUAGES else "en")


def say(key: str, /, **values: object) -> str:
    """A text of `TEXTS` in the language of this thread, with its places filled."""
    english, german = TEXTS[key]
    return (german if _language.get() == "de" else english).format(**values)


def preferred(locale: str | None) -> str:
    """The language that a browser asks for, or English."""
    asked = (locale or "").lower().split("-")[0]
    return asked if asked in LANGUAGES else "en"


TEXTS: dict[str, tuple[str, str]] = {
    # ------------------------------------------------------------------- words of every page
    "ok.means": (
        (
            "OK means that nothing visible is wrong; nugget size and cold welds are not visible. "
            "They need an ultrasonic or destructive test."
        ),
        (
            "OK heißt, dass nichts Sichtbares falsch ist; Linsengröße und Kaltschweißungen sieht"
            " man nicht. Sie brauchen eine Ultraschall- oder zerstörende Prüfung."
        ),
    ),
    "open": ("open", "offen"),
    "severity.minor": ("minor", "gering"),
    "severity.major": ("major", "schwer"),
    "severity.critical": ("critical", "kritisch"),
    "severity.unknown": ("severity unknown", "Schwere unbekannt"),
    "points.one": ("{count} point", "{count} Punkt"),
    "points.many": ("{count} points", "{count} Punkte"),
    "runs.one": ("{count} run", "{count} Lauf"),
    "runs.many": ("{count} runs", "{count} Läufe"),
    "parts.one": ("{count} part", "{count} Teil"),
    "parts.many": ("{count} parts", "{count} Teile"),
    "days": ("{days} days {hours} h", "{days} Tage {hours} h"),
    "decimal.sign": (".", ","),
    "class.number": ("class {number}", "Klasse {number}"),
    "picture.none": (
        "The edge kept no picture of this point.",
        "Von diesem Punkt wurde kein Bild aufgehoben.",
    ),
    "picture.missing": (
        "The picture is not here: still on its way, lost, or changed since.",
        "Das Bild ist nicht hier: noch unterwegs, verloren oder seither verändert.",
    ),
    "picture.broken": (
        "The picture cannot be shown: {what}.",
        "Das Bild kann nicht gezeigt werden: {what}.",
    ),
    "picture.of": ("picture of point {point}", "Bild von Punkt {point}"),
    "picture.size": ("{width} x {height} pixels", "{width} x {height} Pixel"),
    "language": ("Language", "Sprache"),
    # -------------------------------------------------------------------------- pages and people
    "page.line": ("Line", "Linie"),
    "page.review": ("Review", "Entscheiden"),
    "page.audit": ("Audit", "Audit"),
    "page.people": ("People", "Personen"),
    "page.models": ("Models", "Modelle"),
    "page.parts": ("Parts", "Teile"),
    "page.analysis": ("Analysis", "Auswertung"),
    "login": ("Log in", "Anmelden"),
    "login.user": ("User", "Benutzer"),
    "login.password": ("Password", "Passwort"),
    "login.nowhere": (
        "ui.toml names no station to log in at: these pages only show.",
        "ui.toml nennt keine Station zum Anmelden: diese Seiten zeigen nur.",
    ),
    "login.refused": ("Not logged in: {text}", "Nicht angemeldet: {text}"),
    "login.unreachable": (
        "the station cannot be reached.",
        "die Station ist nicht erreichbar.",
    ),
    "login.incomplete": ("Type user and password.", "Benutzer und Passwort eingeben."),
    "login.roles": ("Roles: {roles}", "Rollen: {roles}"),
    "login.memory": (
        "The login is forgotten when this page is loaded again or closed.",
        "Die Anmeldung wird vergessen, wenn die Seite neu geladen oder geschlossen wird.",
    ),
    "logout": ("Log out", "Abmelden"),
    # --------------------------------------------------------------------------------- head
    "head.nothing": (
        "The station has not recorded anything yet.",
        "Die Station hat noch nichts aufgezeichnet.",
    ),
    "head.last": ("Last record {when}, {age} ago.", "Letzter Datensatz {when}, vor {age}."),
    "head.running": ("● station running", "● Station läuft"),
    "head.gone": ("✕ no station", "✕ keine Station"),
    "head.challenge": (
        "Challenge {part} passed {when}.",
        "Fehlermuster {part} bestanden {when}.",
    ),
    "head.read": ("Page read {when}.", "Gelesen {when}."),
    "head.fault": (
        "✕ {fault}. Shown is what was known at {when}, {age} ago.",
        "✕ {fault}. Gezeigt ist, was um {when} bekannt war, vor {age}.",
    ),
    "head.no_station": (
        "✕ No station runs on this machine: nothing new is recorded.",
        "✕ Auf diesem Rechner läuft keine Station: nichts Neues wird aufgezeichnet.",
    ),
    "head.still_open": (" Still open: {runs}.", " Noch offen: {runs}."),
    "head.silent": (
        "▲ A part is open, but nothing has been recorded for {age}.",
        "▲ Ein Teil ist offen, aber seit {age} wurde nichts aufgezeichnet.",
    ),
    "head.bypassed": (
        (
            "✕ Bypassed since {since} until {until} by {person}: {why}. Nothing is inspected and"
            " every part is held."
        ),
        (
            "✕ Überbrückt seit {since} bis {until} durch {person}: {why}. Nichts wird geprüft und"
            " jedes Teil zurückgehalten."
        ),
    ),
    "head.challenge_failed": (
        (
            "✕ Challenge part {part} failed at {when}: the known defect at {missed} was not found."
            " Parts are held until a challenge passes."
        ),
        (
            "✕ Fehlermuster {part} nicht bestanden um {when}: der bekannte Fehler an {missed} wurde"
            " nicht gefunden. Teile werden zurückgehalten, bis ein Fehlermuster besteht."
        ),
    ),
    "head.ahead": (
        "▲ The last record is dated {ahead} ahead of this machine's clock.",
        "▲ Der letzte Datensatz liegt {ahead} vor der Uhr dieses Rechners.",
    ),
    "head.again": (
        "This page looks again every two seconds.",
        "Diese Seite sieht alle zwei Sekunden wieder nach.",
    ),
    "head.stopped": (
        "✕ This page is not being refreshed any more: its numbers are old. Load it again.",
        "✕ Diese Seite wird nicht mehr aufgefrischt: ihre Zahlen sind alt. Neu laden.",
    ),
    # --------------------------------------------------------------------------------- line
    "line.window": ("Time to look back", "Zeit zurück"),
    "window.all": ("all", "alle"),
    "line.points": ("Points", "Punkte"),
    "line.planned": ("planned", "geplant"),
    "line.coverage": ("Coverage", "Abdeckung"),
    "line.closed_runs": ("of closed runs", "der geschlossenen Läufe"),
    "line.with_open": ("{share} with open runs", "{share} mit offenen Läufen"),
    "line.parts": ("Parts: {count}", "Teile: {count}"),
    "line.in_runs": ("in {runs}", "in {runs}"),
    "line.yield": ("First-pass yield", "Gut im ersten Lauf"),
    "line.first_ok": ("{count} OK in their first run", "{count} OK im ersten Lauf"),
    "line.first_judged": ("of {count} judged", "von {count} beurteilten"),
    "line.exact": (
        "✓ The balance is exact: every planned point is accounted for.",
        "✓ Die Bilanz stimmt genau: jeder geplante Punkt ist nachgewiesen.",
    ),
    "line.inexact": (
        (
            "✕ THE BALANCE DOES NOT HOLD: {settled} accounted for, {planned} planned. Stop"
            " releasing parts; call quality."
        ),
        (
            "✕ DIE BILANZ STIMMT NICHT: {settled} nachgewiesen, {planned} geplant. Keine Teile mehr"
            " freigeben; Qualität rufen."
        ),
    ),
    "line.contradict": (
        (
            "✕ The records of {parts} do not add up to the verdict: {named}. Hold them; the store"
            " may be damaged."
        ),
        (
            "✕ Die Datensätze von {parts} passen nicht zum Urteil: {named}. Zurückhalten; der"
            " Speicher kann beschädigt sein."
        ),
    ),
    "line.no_part": ("No part has been begun.", "Noch kein Teil wurde begonnen."),
    "line.no_part_in": ("No part in the last {window}.", "Kein Teil in den letzten {window}."),
    "line.last_parts": ("Last parts", "Letzte Teile"),
    "line.choose": (
        "choose one to see only its points",
        "eines wählen, um nur seine Punkte zu sehen",
    ),
    "line.newer": ("newer", "neuer"),
    "line.older": ("older", "älter"),
    "line.back": ("back", "zurück"),
    "line.more": ("more", "weiter"),
    "line.range": ("{first} to {last} of {count}", "{first} bis {last} von {count}"),
    "line.taken": ("✓ taken", "✓ geholt"),
    "line.taken.help": ("The PLC has taken this verdict", "Die SPS hat dieses Urteil geholt"),
    "line.waits": ("waits", "wartet"),
    "line.waits.help": ("No PLC has taken this verdict", "Keine SPS hat dieses Urteil geholt"),
    "line.not_ok": ("Not OK", "Nicht OK"),
    "line.only": ("{part} only", "nur {part}"),
    "line.verdicts": ("Verdicts", "Urteile"),
    "line.show_all": ("Show all parts", "Alle Teile zeigen"),
    "line.chosen_gone": (
        "The chosen part is not among these any more; all others are shown.",
        "Das gewählte Teil ist nicht mehr darunter; alle anderen werden gezeigt.",
    ),
    "line.none_chosen": ("No verdict is chosen above.", "Oben ist kein Urteil gewählt."),
    "line.nothing": ("Nothing here: no such point.", "Nichts hier: kein solcher Punkt."),
    "line.newest": (
        "of the newest {runs}; the numbers above are of all",
        "der neuesten {runs}; die Zahlen oben sind von allen",
    ),
    "line.all_above": ("of all parts above", "aller Teile oben"),
    "line.unreadable": (
        "The record cannot be read now.",
        "Der Datensatz ist jetzt nicht lesbar.",
    ),
    "line.missing": ("Not inspected: {points}", "Nicht geprüft: {points}"),
    "line.more_groups": (
        "and {count} more groups: choose a part",
        "und {count} weitere Gruppen: ein Teil wählen",
    ),
    "line.group": (
        "{points} of view {view}: {short}",
        "{points} der Ansicht {view}: {short}",
    ),
    "line.group_runs": (
        "{points} of view {view} in {runs}: {short}",
        "{points} der Ansicht {view} in {runs}: {short}",
    ),
    "line.reason": ("reason {code}", "Grund {code}"),
    "line.more_parts": (
        "and in {count} more: choose a part to see its points",
        "und in {count} weiteren: ein Teil wählen, um seine Punkte zu sehen",
    ),
    "line.and_more": ("and {count} more", "und {count} weitere"),
    "line.other_texts": ("{detail} (and {count} other texts)", "{detail} (und {count} andere)"),
    "line.events": ("What the station says", "Was die Station sagt"),
    "line.about": (" Part {part}.", " Teil {part}."),
    "line.silence": ("The station has reported nothing.", "Die Station hat nichts gemeldet."),
    "column.part": ("part", "Teil"),
    "column.part.help": ("part, newest first", "Teil, neuestes zuerst"),
    "column.plan": ("plan", "Plan"),
    "column.plan.help": ("plan it is inspected with", "Plan, nach dem geprüft wird"),
    "column.begun": ("begun", "Beginn"),
    "column.begun.help": ("when the part was begun", "wann das Teil begonnen wurde"),
    "column.verdict": ("verdict", "Urteil"),
    "column.verdict.help": ("verdict on the part", "Urteil über das Teil"),
    "column.ok": ("OK", "OK"),
    "column.ok.help": ("points that are OK", "Punkte, die OK sind"),
    "column.nok": ("NOK", "NOK"),
    "column.nok.help": ("points that are NOK", "Punkte, die NOK sind"),
    "column.review": ("REV.", "REV."),
    "column.review.help": ("points in REVIEW", "Punkte in REVIEW"),
    "column.missed": ("N.I.", "N.I."),
    "column.missed.help": ("points NOT_INSPECTED", "Punkte NOT_INSPECTED"),
    "column.plc": ("PLC", "SPS"),
    "column.plc.help": (
        "whether the PLC has taken the verdict",
        "ob die SPS das Urteil geholt hat",
    ),
    # ------------------------------------------------------------------------------- review
    "review.waiting": ("{points} waiting", "{points} warten"),
    "review.of_runs": ("in the newest {runs}", "in den neuesten {runs}"),
    "review.cut": ("the most urgent {count} are listed", "die dringendsten {count} sind gelistet"),
    "review.unread": (
        "{runs} before them are still being read",
        "{runs} davor werden noch gelesen",
    ),
    "review.no_decisions": (
        (
            "✕ No station runs on this machine: nothing can be decided now. Shown is what was on"
            " record at {when}, {age} ago."
        ),
        (
            "✕ Auf diesem Rechner läuft keine Station: jetzt kann nichts entschieden werden."
            " Gezeigt ist, was um {when} aufgezeichnet war, vor {age}."
        ),
    ),
    "review.log_in": (
        "▲ Log in (top right) to decide. Anybody may look.",
        "▲ Zum Entscheiden anmelden (oben rechts). Ansehen darf jeder.",
    ),
    "review.filter": ("What waits", "Was wartet"),
    "review.done": ("Nothing waits here.", "Hier wartet nichts."),
    "review.done.more": (
        "What comes in is shown by itself.",
        "Was hereinkommt, erscheint von selbst.",
    ),
    "review.only_passed": (
        "All others were passed over or set aside by you.",
        "Alle anderen haben Sie übergangen oder zurückgestellt.",
    ),
    "review.from_start": ("Start again from the top", "Wieder von vorn"),
    "need.second": ("second person", "zweite Person"),
    "need.disagreement": ("disagreement", "uneins"),
    "need.review": ("REVIEW", "REVIEW"),
    "need.nok": ("NOK", "NOK"),
    "need.not_inspected": ("NOT_INSPECTED", "NOT_INSPECTED"),
    "need.all": ("all", "alle"),
    "ask.second": (
        "One person has called it good. Do you?",
        "Eine Person nannte es gut. Und Sie?",
    ),
    "ask.disagreement": (
        "Two people disagree. Which is it?",
        "Zwei Personen sind uneins. Was ist es?",
    ),
    "ask.review": (
        "The machine cannot tell. Is it a defect?",
        "Die Maschine weiß es nicht. Ist es ein Fehler?",
    ),
    "ask.nok": (
        "The machine sees a defect. Is it one?",
        "Die Maschine sieht einen Fehler. Ist es einer?",
    ),
    "ask.not_inspected": (
        "Nobody saw this. Inspect the part and say how.",
        "Niemand sah dies. Das Teil prüfen und sagen, wie.",
    ),
    "ask.nothing": ("This waits for nobody.", "Dies wartet auf niemanden."),
    "ask.nothing.by": ("Decided: {verdict}.", "Entschieden: {verdict}."),
    "review.second.blind": (
        "What the first person said is not shown, so that you judge for yourself.",
        "Was die erste Person sagte, wird nicht gezeigt, damit Sie selbst urteilen.",
    ),
    "review.part": ("Part", "Teil"),
    "review.point": ("Point", "Punkt"),
    "review.place": ("view {view} · begun {when}", "Ansicht {view} · begonnen {when}"),
    "review.part_waits": (
        "The part waits for {points}.",
        "Das Teil wartet auf {points}.",
    ),
    "review.scores": ("Scores and limits", "Werte und Grenzen"),
    "review.ok_from": ("OK from {limit}", "OK ab {limit}"),
    "review.nok_from": ("NOK from {limit}", "NOK ab {limit}"),
    "review.limits_unknown": (
        "The limits used then are not among the models of ui.toml.",
        "Die damals benutzten Grenzen sind nicht bei den Modellen von ui.toml.",
    ),
    "review.reason": ("Why", "Warum"),
    "review.said": ("What people said", "Was Personen sagten"),
    "review.took_back": ("set aside or took it back", "zurückgestellt oder zurückgenommen"),
    "review.history": ("This point on the last bodies", "Dieser Punkt an den letzten Karossen"),
    "review.history.none": ("No earlier body.", "Keine frühere Karosse."),
    "review.good": ("Good ones of this point", "Gute von diesem Punkt"),
    "review.good.none": (
        "No picture of a good one was kept so far.",
        "Bisher wurde kein Bild eines guten aufgehoben.",
    ),
    "review.region": (
        "The frame is the point's region.",
        "Der Rahmen ist der Bereich des Punktes.",
    ),
    "review.comment": ("Comment", "Kommentar"),
    "review.comment.hint": ("why, for whoever reads it later", "warum, für spätere Leser"),
    "review.method": ("Method", "Methode"),
    "review.method.hint": (
        "how the part itself was inspected",
        "wie das Teil selbst geprüft wurde",
    ),
    "review.changed": (
        (
            "▲ Somebody or something has changed this point since you opened it. A decision on it"
            " will be refused: look at it again."
        ),
        (
            "▲ Dieser Punkt hat sich geändert, seit Sie ihn öffneten. Eine Entscheidung wird"
            " abgewiesen: sehen Sie ihn noch einmal an."
        ),
    ),
    "review.look_again": ("Show it as it now stands", "Zeigen, wie er jetzt steht"),
    "review.find": ("Find a point", "Punkt suchen"),
    "review.find.go": ("Show", "Zeigen"),
    "review.find.none": (
        "There is no such point, or no verdict on that part yet.",
        "Es gibt keinen solchen Punkt, oder noch kein Urteil über dieses Teil.",
    ),
    "review.find.hint": (
        "Also for a defect found later at a point that was called OK.",
        "Auch für einen Fehler, der später an einem OK-Punkt gefunden wurde.",
    ),
    "review.members": ("These {points}: {ids}", "Diese {points}: {ids}"),
    "review.similar": ("Similar: {count}", "Ähnliche: {count}"),
    "review.similar.off": ("Only this one", "Nur dieses"),
    "review.similar.hint": (
        (
            "Take out what is different; the next decision is then for all that are left, and for"
            " the one above."
        ),
        (
            "Was anders ist, herausnehmen; die nächste Entscheidung gilt dann für alle übrigen und"
            " für das obige."
        ),
    ),
    "review.similar.all": ("Decides on {points}", "Entscheidet über {points}"),
    "act.confirm": ("Defect", "Fehler"),
    "act.overrule": ("Good", "Gut"),
    "act.reclassify": ("Defect, but …", "Fehler, aber …"),
    "act.cannot_tell": ("Cannot tell", "Unklar"),
    "act.escape": ("Escape", "Durchschlupf"),
    "act.repaired": ("Repaired", "Repariert"),
    "act.undo": ("Undo", "Zurücknehmen"),
    "act.next": ("Next", "Weiter"),
    "act.previous": ("Back", "Zurück"),
    "act.confirm.help": (
        "The machine is right, or the suspicion is a defect: NOK",
        "Die Maschine hat recht, oder der Verdacht ist ein Fehler: NOK",
    ),
    "act.overrule.help": ("There is no defect: OK", "Es ist kein Fehler: OK"),
    "act.reclassify.help": ("A defect, and it is: {name}", "Ein Fehler, und zwar: {name}"),
    "act.cannot_tell.help": (
        "Not to be told from this picture; it waits on for somebody else",
        "Aus diesem Bild nicht zu sagen; es wartet weiter auf jemand anderen",
    ),
    "act.escape.help": (
        "A defect at a point that was called OK",
        "Ein Fehler an einem Punkt, der OK hieß",
    ),
    "act.undo.help": (
        "Take back what you said last: a further entry, nothing is erased",
        "Das zuletzt Gesagte zurücknehmen: ein weiterer Eintrag, nichts wird gelöscht",
    ),
    "why.no_station": ("No station runs.", "Keine Station läuft."),
    "why.no_login": ("Log in first.", "Erst anmelden."),
    "why.role": ("Your role may not say this.", "Ihre Rolle darf das nicht sagen."),
    "why.makes_no_sense": ("Makes no sense here.", "Hier nicht sinnvoll."),
    "why.method": (
        "Nobody saw this point: name the method by which the part was inspected.",
        "Niemand sah diesen Punkt: die Methode nennen, mit der das Teil geprüft wurde.",
    ),
    "why.too_fast": (
        "Too fast: the picture had only just come. Press again.",
        "Zu schnell: das Bild war eben erst da. Noch einmal drücken.",
    ),
    "told.sending": (
        "… {action}: {part}, {point} is being written down",
        "… {action}: {part}, {point} wird festgehalten",
    ),
    "told.recorded": (
        "✓ {action}: {part}, {point} → {verdict}. The part: {run_verdict}.",
        "✓ {action}: {part}, {point} → {verdict}. Das Teil: {run_verdict}.",
    ),
    "told.recorded_many": (
        "✓ {action}: {points} recorded.",
        "✓ {action}: {points} aufgezeichnet.",
    ),
    "told.second": (" A second person must say the same.", " Eine zweite Person muss zustimmen."),
    "told.disagreement": (" People disagree.", " Personen sind uneins."),
    "told.taken_back": ("✓ Taken back: {part}, {point}.", "✓ Zurückgenommen: {part}, {point}."),
    "told.back": ("Back at {part}, {point}.", "Zurück bei {part}, {point}."),
    "told.nothing_to_undo": ("There is nothing to take back.", "Es gibt nichts zurückzunehmen."),
    "told.stale": (
        (
            "✕ Not recorded: it has changed since you looked. It is shown as it now stands; your"
            " text is kept. The station says: {text}"
        ),
        (
            "✕ Nicht aufgezeichnet: es hat sich geändert, seit Sie es ansahen. Gezeigt ist es, wie"
            " es jetzt steht; Ihr Text ist noch da. Die Station sagt: {text}"
        ),
    ),
    "told.refused": (
        "✕ Not recorded. The station says: {text}",
        "✕ Nicht aufgezeichnet. Die Station sagt: {text}",
    ),
    "told.refused_many": (
        "✕ Not recorded: {points}. The station says: {text}",
        "✕ Nicht aufgezeichnet: {points}. Die Station sagt: {text}",
    ),
    "told.not_sent": (
        "✕ Not recorded: the station cannot be reached. Nothing is lost: your text is still here.",
        (
            "✕ Nicht aufgezeichnet: die Station ist nicht erreichbar. Nichts ist verloren: Ihr Text"
            " ist noch da."
        ),
    ),
    "told.no_answer": (
        (
            "✕ The station has not answered: it may be on record or not. Press the same key again:"
            " it is never recorded twice."
        ),
        (
            "✕ Die Station hat nicht geantwortet: vielleicht ist es aufgezeichnet, vielleicht"
            " nicht. Dieselbe Taste noch einmal drücken: doppelt wird nichts aufgezeichnet."
        ),
    ),
    "told.log_in_again": (
        "✕ Not recorded: {text}. Your text is kept.",
        "✕ Nicht aufgezeichnet: {text}. Ihr Text ist noch da.",
    ),
    "told.unreadable": ("✕ {fault}", "✕ {fault}"),
    "line.an_hour": ("Parts an hour", "Teile je Stunde"),
    "line.points_an_hour": ("{count} points an hour", "{count} Punkte je Stunde"),
    "line.rates": ("NOK {nok}, REVIEW {review}", "NOK {nok}, REVIEW {review}"),
    "line.edge.there": ("✓ {edge} since {when}", "✓ {edge} seit {when}"),
    "line.edge.gone": ("✕ {edge} lost at {when}", "✕ {edge} verloren um {when}"),
    "line.plc.took": (
        "PLC took its last verdict {age} ago",
        "SPS nahm ihr letztes Urteil vor {age}",
    ),
    "line.plc.never": (
        "✕ no verdict was taken by a PLC yet",
        "✕ noch kein Urteil wurde von einer SPS genommen",
    ),
    # ---------------------------------------------------------------------------------- models
    "models.none": (
        "ui.toml names no model package: write them in models.",
        "ui.toml nennt kein Modellpaket: unter models eintragen.",
    ),
    "models.package": ("Model package", "Modellpaket"),
    "models.what_if": ("What if", "Was wäre, wenn"),
    "models.no_policy": (
        "No policy lies beside this package.",
        "Neben diesem Paket liegt keine Policy.",
    ),
    "models.no_results": (
        "No result of it is on record.",
        "Kein Ergebnis davon ist aufgezeichnet.",
    ),
    "models.results": (
        "{points} of {runs}, {since} to {until}; people have decided on {decided} of them",
        "{points} aus {runs}, {since} bis {until}; über {decided} davon haben Personen entschieden",
    ),
    "models.ok_min": ("OK from (now {now})", "OK ab (jetzt {now})"),
    "models.nok_min": (
        "NOK from, all classes (now {now} at most)",
        "NOK ab, alle Klassen (jetzt höchstens {now})",
    ),
    "models.same": ("Nothing would have changed.", "Nichts hätte sich geändert."),
    "models.moved": (
        "This policy would have said something else of {count} points:",
        "Diese Policy hätte über {count} Punkte etwas anderes gesagt:",
    ),
    "models.stopped": (
        "✓ It would have stopped {count} escapes that people found.",
        "✓ Sie hätte {count} Durchschlüpfe aufgehalten, die Personen fanden.",
    ),
    "models.released": (
        "▲ It would have let {count} defects through that people confirmed.",
        "▲ Sie hätte {count} Fehler durchgelassen, die Personen bestätigten.",
    ),
    "models.spared": (
        "✓ It would have spared {count} false alarms.",
        "✓ Sie hätte {count} Pseudofehler erspart.",
    ),
    "models.troubled": (
        "It would have stopped {count} points more that people called good.",
        "Sie hätte {count} Punkte mehr aufgehalten, die Personen gut nannten.",
    ),
    "models.decided_only": (
        "Escapes and false alarms are counted where people have decided, and nowhere else.",
        "Durchschlüpfe und Pseudofehler sind gezählt, wo Personen entschieden, sonst nirgends.",
    ),
    "models.cost.escape": ("Cost of an escape", "Kosten eines Durchschlupfs"),
    "models.cost.alarm": ("Cost of a false alarm", "Kosten eines Pseudofehlers"),
    "models.cost.none": (
        "Without decisions of people there is no cost to draw.",
        "Ohne Entscheidungen von Personen gibt es keine Kosten zu zeichnen.",
    ),
    "models.now": ("now", "jetzt"),
    "models.tried": ("tried", "versucht"),
    "models.where": ("What runs where", "Was wo läuft"),
    "models.where.edge": ("Edge", "Kamerarechner"),
    "models.where.package": ("Model", "Modell"),
    "models.where.policy": ("Policy", "Policy"),
    "models.where.first": ("From", "Von"),
    "models.where.last": ("To", "Bis"),
    "models.where.hint": (
        "As the newest {runs} were judged.",
        "Wie die neuesten {runs} beurteilt wurden.",
    ),
    "models.release": ("Release, take back", "Freigeben, zurücknehmen"),
    "models.release.hint": (
        "No page changes what judges. On the machine of the registry:",
        "Keine Seite ändert, was urteilt. Auf dem Rechner der Registry:",
    ),
    "models.card": ("Card", "Karte"),
    "models.no_card": ("No card lies in this package.", "In diesem Paket liegt keine Karte."),
    "models.view": ("What to look at", "Was gezeigt wird"),
    "models.view.what_if": ("What if", "Was wäre, wenn"),
    "models.view.figures": ("Figures", "Kennzahlen"),
    "models.view.compare": ("Compare", "Vergleichen"),
    "models.view.shadow": ("Shadow", "Schattenbetrieb"),
    "versions.current": ("released", "freigegeben"),
    "versions.none": (
        "This package states no figures of test parts.",
        "Dieses Paket nennt keine Kennzahlen von Prüfteilen.",
    ),
    "versions.other_policy": (
        (
            "These figures were measured with the policy that the model came with, "
            "and not with this one. Measure anew: inspection evaluate."
        ),
        (
            "Diese Kennzahlen wurden mit der Policy gemessen, mit der das Modell "
            "kam, und nicht mit dieser. Neu messen: inspection evaluate."
        ),
    ),
    "versions.other_policy.of": (
        ("{version}: its figures were measured with another policy and are left out."),
        ("{version}: die Kennzahlen wurden mit einer anderen Policy gemessen und fehlen hier."),
    ),
    "versions.other_data": (
        (
            "The two were made from different data: their figures are not "
            "comparable. inspection models compare --data judges the same points "
            "with both."
        ),
        (
            "Die beiden entstanden aus verschiedenen Daten: ihre Kennzahlen sind "
            "nicht vergleichbar. inspection models compare --data beurteilt "
            "dieselben Punkte mit beiden."
        ),
    ),
    "versions.test": ("On test parts", "Auf Prüfteilen"),
    "versions.by_class": ("Wrongly called, by class", "Falsch beurteilt, nach Klasse"),
    "versions.class.hint": (
        "The class with the highest upper bound first.",
        "Die Klasse mit der höchsten oberen Grenze zuerst.",
    ),
    "versions.bounds": (
        (
            "95 % intervals are exact (Clopper-Pearson); points count as "
            "independent, parts stand beside them. At most: the one-sided bound, "
            "the rate that may be claimed. OK means that nothing visible is wrong."
        ),
        (
            "95-%-Intervalle sind exakt (Clopper-Pearson); Punkte gelten als "
            "unabhängig, Teile stehen daneben. Höchstens: die einseitige Grenze, "
            "die Rate, die man behaupten darf. OK heißt: nichts Sichtbares ist "
            "falsch."
        ),
    ),
    "versions.int8": ("{what}, 8-bit graph", "{what}, 8-Bit-Graph"),
    "versions.rate.escapes": (
        "Escapes (defective points called OK)",
        "Durchschlupf (fehlerhafte Punkte mit OK)",
    ),
    "versions.rate.overkill": (
        "Overkill (good points not called OK)",
        "Pseudofehler (gute Punkte ohne OK)",
    ),
    "versions.rate.parts_with_escape": (
        "Defective parts with an escape",
        "Fehlerhafte Teile mit Durchschlupf",
    ),
    "versions.rate.parts_released": (
        "Defective parts released whole",
        "Fehlerhafte Teile ganz freigegeben",
    ),
    "versions.rate.parts_with_overkill": ("Parts with overkill", "Teile mit Pseudofehler"),
    "versions.rate.good_parts_held": ("Good parts held", "Gute Teile aufgehalten"),
    "versions.head.what": ("Rate", "Rate"),
    "versions.head.of": ("Counted", "Gezählt"),
    "versions.head.rate": ("Measured", "Gemessen"),
    "versions.head.bounds": ("95 % interval", "95-%-Intervall"),
    "versions.head.at_most": ("At most", "Höchstens"),
    "versions.counted": ("{errors} of {of}", "{errors} von {of}"),
    "versions.not_measured": ("not measured", "nicht gemessen"),
    "versions.not_stated": ("–", "–"),
    "versions.only_one": (
        "There is nothing to compare with: ui.toml names one version only.",
        "Es gibt nichts zum Vergleichen: ui.toml nennt nur eine Version.",
    ),
    "versions.beside": ("Compare with (B)", "Vergleichen mit (B)"),
    "versions.differing": ("Only what differs", "Nur Unterschiede"),
    "versions.difference": ("Difference", "Unterschied"),
    "versions.apart.hint": (
        (
            "Lower is said where the 95 % intervals have no value in common. Not "
            "shown does not mean equal."
        ),
        (
            "Niedriger steht, wo die 95-%-Intervalle keinen Wert gemeinsam haben. "
            "Nicht gezeigt heißt nicht gleich."
        ),
    ),
    "versions.not_apart": ("not shown with this n", "mit diesem n nicht gezeigt"),
    "versions.lower": ("▼ {of} is lower", "▼ {of} ist niedriger"),
    "versions.not_comparable": ("other data", "andere Daten"),
    "versions.on_record": (
        "B instead of A, on {points} on record",
        "B statt A, auf {points} im Bestand",
    ),
    "versions.speed": (
        (
            "Depends on the machine, so that no package states it: inspection bench "
            "measures it there."
        ),
        ("Hängt vom Rechner ab, darum nennt sie kein Paket: inspection bench misst sie dort."),
    ),
    "versions.group.figures": ("On test parts", "Auf Prüfteilen"),
    "versions.group.classes": ("Wrongly called, by class", "Falsch beurteilt, nach Klasse"),
    "versions.group.int8": ("8-bit graph", "8-Bit-Graph"),
    "versions.group.thresholds": ("Thresholds", "Schwellen"),
    "versions.group.size": ("Size", "Größe"),
    "versions.group.provenance": ("Provenance", "Herkunft"),
    "versions.what.ok_min": ("OK from", "OK ab"),
    "versions.what.nok_min": ("NOK from", "NOK ab"),
    "versions.what.ood_max": ("Unusual from", "Ungewöhnlich ab"),
    "versions.what.policy.version": ("Policy, version", "Policy, Version"),
    "versions.what.policy.why": ("Policy, why", "Policy, warum"),
    "versions.what.policy.author": ("Policy, by", "Policy, von"),
    "versions.what.graph": ("File", "Datei"),
    "versions.what.input": ("Input", "Eingabe"),
    "versions.what.verified": ("Verified on", "Verifiziert auf"),
    "versions.what.speed": ("Speed", "Tempo"),
    "versions.what.package": ("Package", "Paket"),
    "versions.what.policy": ("Policy", "Policy"),
    "versions.what.data": ("Data", "Daten"),
    "versions.what.recipe": ("Recipe", "Rezept"),
    "versions.what.code": ("Code", "Code"),
    "versions.what.created": ("Made", "Erstellt"),
    "versions.what.imaging": ("Imaging version", "Bildversion"),
    "versions.what.licence": ("Licence", "Lizenz"),
    "versions.what.added": ("Added", "Aufgenommen"),
    "versions.what.released": ("Released", "Freigegeben"),
    "shadow.none": (
        "No candidate has judged anything: name one under [shadow] in edge.toml.",
        ("Kein Kandidat hat etwas beurteilt: unter [shadow] in edge.toml eintragen."),
    ),
    "shadow.all": (
        ("{count} reports of edges, {since} to {until}; a candidate counts for nothing."),
        ("{count} Berichte von Kamerarechnern, {since} bis {until}; ein Kandidat zählt nirgends."),
    ),
    "shadow.newest": (
        (
            "The newest {count} reports of edges, {since} to {until}; a candidate "
            "counts for nothing."
        ),
        (
            "Die neuesten {count} Berichte von Kamerarechnern, {since} bis {until}; "
            "ein Kandidat zählt nirgends."
        ),
    ),
    "shadow.missing": (
        "{count} reports are not in the evidence store, or have changed there.",
        ("{count} Berichte sind nicht im Bildspeicher oder haben sich dort geändert."),
    ),
    "shadow.broken": ("{count} reports cannot be read.", "{count} Berichte sind nicht lesbar."),
    "shadow.dropped": (
        "The candidate of {model} had no time for {count} points.",
        "Der Kandidat von {model} hatte für {count} Punkte keine Zeit.",
    ),
    "shadow.which": ("Released and candidate", "Freigegeben und Kandidat"),
    "shadow.agreement": ("Agreement", "Übereinstimmung"),
    "shadow.of": ("{count} of {points}; 95 %: {bounds}", "{count} von {points}; 95 %: {bounds}"),
    "shadow.changed": ("Changed verdicts", "Geänderte Urteile"),
    "shadow.below": ("each one is below", "jedes steht unten"),
    "shadow.parts": ("Parts with a change", "Teile mit Änderung"),
    "shadow.same": (
        "Both said the same of every point.",
        "Beide sagten über jeden Punkt dasselbe.",
    ),
    "shadow.judged": (
        (
            "Where people have decided and only one lets the point pass: the "
            "candidate is right {candidate} times, the released model {released} "
            "times."
        ),
        (
            "Wo Personen entschieden haben und nur eines den Punkt durchlässt: der "
            "Kandidat hat {candidate}-mal recht, das freigegebene Modell "
            "{released}-mal."
        ),
    ),
    "shadow.not_judged": (
        "People have decided on none of these points.",
        "Über keinen dieser Punkte haben Personen entschieden.",
    ),
    "shadow.only": ("Only", "Nur"),
    "shadow.page": ("Page of {count}", "Seite von {count}"),
    "shadow.head.picture": ("Picture", "Bild"),
    "shadow.head.part": ("Part", "Teil"),
    "shadow.head.point": ("Point", "Punkt"),
    "shadow.head.released": ("Released", "Freigegeben"),
    "shadow.head.candidate": ("Candidate", "Kandidat"),
    "shadow.head.finding": ("Finding", "Befund"),
    "shadow.head.people": ("People", "Personen"),
    "shadow.defect": ("defect", "Fehler"),
    "shadow.good": ("good", "gut"),
    # ---------------------------------------------------------------------------------- people
    "people.log_in": (
        "Log in to see who changed what.",
        "Anmelden, um zu sehen, wer was geändert hat.",
    ),
    "people.you": ("{name}: {roles}", "{name}: {roles}"),
    "people.log": ("Who changed what: {count}", "Wer was geändert hat: {count}"),
    "people.kinds": ("Only", "Nur"),
    "people.all": ("everything", "alles"),
    "people.find": ("With the text", "Mit dem Text"),
    "people.newest": (
        "The newest {count} are shown; the file has all.",
        "Gezeigt sind die neuesten {count}; die Datei hat alle.",
    ),
    "people.reviewers": ("How people review", "Wie Personen entscheiden"),
    "people.reviewer": ("Reviewer", "Person"),
    "people.decisions": ("Decisions", "Entscheidungen"),
    "people.an_hour": ("An hour", "Je Stunde"),
    "people.good": ("Called good", "Gut genannt"),
    "people.pseudonyms": (
        "By pseudonyms: these figures are about the work and not about persons.",
        "Mit Pseudonymen: diese Zahlen gelten der Arbeit und nicht den Personen.",
    ),
    "people.named": (
        'By name, because ui.toml says reviewers = "named".',
        'Mit Namen, weil in ui.toml reviewers = "named" steht.',
    ),
    # ----------------------------------------------------------------------------------- audit
    "audit.what": (
        (
            "A share of what the machine called OK is looked at again. Nobody chooses which: a hash"
            " does, and it chooses the same again for whoever asks."
        ),
        (
            "Ein Teil dessen, was die Maschine OK nannte, wird noch einmal angesehen. Niemand wählt"
            " aus: das tut eine Prüfsumme, und für jeden, der fragt, dieselbe Auswahl."
        ),
    ),
    "audit.shift": ("Shift", "Schicht"),
    "audit.wanted": ("Looks a stratum", "Blicke je Schicht der Auswahl"),
    "audit.none": (
        (
            "No picture of an OK point was kept in this shift. The edges' ok_share says how many"
            " are."
        ),
        (
            "In dieser Schicht wurde kein Bild eines OK-Punkts aufbewahrt. Wie viele, sagt ok_share"
            " der Kamerarechner."
        ),
    ),
    "audit.so_far": ("{given} of {asked} looked at", "{given} von {asked} angesehen"),
    "audit.done": (
        "✓ All that was drawn has been looked at.",
        "✓ Alles Gezogene ist angesehen.",
    ),
    "audit.ask": ("Is anything visible wrong here?", "Ist hier etwas Sichtbares falsch?"),
    "audit.GOOD": ("Good", "Gut"),
    "audit.DEFECT": ("Defect", "Fehler"),
    "audit.CANNOT_TELL": ("Cannot tell", "Unklar"),
    "audit.escape.help": (
        "The defect you found last is an escape: the part's verdict follows",
        "Der zuletzt gefundene Fehler ist ein Durchschlupf: das Urteil des Teils folgt dem",
    ),
    "audit.mark_escape": (
        "E marks it as an escape; the part's verdict then follows.",
        "E vermerkt ihn als Durchschlupf; das Urteil des Teils folgt dem dann.",
    ),
    "audit.kept": ("✓ Kept: {part}, {point}.", "✓ Vermerkt: {part}, {point}."),
    "audit.escaped": (
        "✓ An escape: {part}, {point}. The part's verdict follows.",
        "✓ Ein Durchschlupf: {part}, {point}. Das Urteil des Teils folgt dem.",
    ),
    "audit.comment": ("found in an audit", "in einem Audit gefunden"),
    "audit.result": ("What it proves", "Was es beweist"),
    "audit.stratum": ("Pictures kept of", "Bilder behalten von"),
    "audit.one_in": ("1 in {number}", "1 von {number}"),
    "audit.called_ok": ("Called OK", "OK genannt"),
    "audit.kept_pictures": ("Kept", "Behalten"),
    "audit.looked_at": ("Looked at", "Angesehen"),
    "audit.bad": ("Not good", "Nicht gut"),
    "audit.nothing_yet": (
        "Nobody has looked yet: as far as anybody knows, all may be escapes.",
        "Noch hat niemand hingesehen: soweit man weiß, können alle Durchschlüpfe sein.",
    ),
    "audit.at_most": (
        (
            "Of {points} points called OK an estimated {rate} are visible escapes; at most"
            " {at_most}, with 95 % confidence."
        ),
        (
            "Von {points} OK genannten Punkten sind geschätzt {rate} sichtbare Durchschlüpfe;"
            " höchstens {at_most}, mit 95 % Sicherheit."
        ),
    ),
    "audit.outgoing": (
        "Of all visible defects, an estimated {share} got through.",
        "Von allen sichtbaren Fehlern kamen geschätzt {share} durch.",
    ),
    "audit.target": ("Bound to reach, in %", "Angestrebte Grenze, in %"),
    "audit.needed": (
        "{looks} looks without a defect would bring the bound to {target} %.",
        "{looks} Blicke ohne Fehler brächten die Grenze auf {target} %.",
    ),
    "audit.unknown": (
        "▲ The results of {points} do not say with what probability pictures are kept.",
        "▲ Die Ergebnisse von {points} sagen nicht, mit welcher Wahrscheinlichkeit Bilder bleiben.",
    ),
    "audit.visible_only": (
        (
            "By eye only what is visible can be bounded: nugget size and cold welds are not. Who"
            " cannot tell counts as not good."
        ),
        (
            "Mit dem Auge lässt sich nur Sichtbares begrenzen: Linsengröße und Kaltschweißungen"
            " nicht. Wer es nicht sagen kann, zählt als nicht gut."
        ),
    ),
    "audit.measured": ("Measurements", "Messungen"),
    "audit.measured.so_far": (
        "{bad} of {looked} measured points were not good: at most {at_most} (95 %).",
        "{bad} von {looked} gemessenen Punkten waren nicht gut: höchstens {at_most} (95 %).",
    ),
    "audit.least_mm": ("Least nugget diameter in mm", "Kleinster Linsendurchmesser in mm"),
    "audit.file": (
        "CSV: part, point, nugget_mm or word",
        "CSV: part, point, nugget_mm oder word",
    ),
    "audit.import": ("Take over", "Übernehmen"),
    "audit.imported": ("✓ {count} measurements kept.", "✓ {count} Messungen vermerkt."),
    "audit.wrong": (
        "✕ {count} lines were not taken over:",
        "✕ {count} Zeilen wurden nicht übernommen:",
    ),
    "audit.no_part": (
        "line {line}: nothing is on record of part {part}",
        "Zeile {line}: von Teil {part} ist nichts aufgezeichnet",
    ),
    "audit.refused_line": ("line {line}: {text}", "Zeile {line}: {text}"),
    # -------------------------------------------------------------------------------- analysis
    "analysis.nothing": (
        "No body has had a verdict in this time.",
        "In dieser Zeit hat keine Karosserie ein Urteil bekommen.",
    ),
    "analysis.plan": ("Plan", "Plan"),
    "analysis.pareto": ("What goes wrong most", "Was am häufigsten schiefgeht"),
    "analysis.by": ("By", "Nach"),
    "analysis.by.class": ("Class", "Klasse"),
    "analysis.by.point": ("Point", "Punkt"),
    "analysis.by.gun": ("Gun", "Zange"),
    "analysis.by.view": ("View", "Ansicht"),
    "analysis.by.camera": ("Camera", "Kamera"),
    "analysis.by.edge": ("Camera's edge", "Kamerarechner"),
    "analysis.by.shift": ("Shift", "Schicht"),
    "analysis.by.reason": ("Reason", "Grund"),
    "analysis.of": (
        "{bad} of {points} points on {bodies} bodies were not OK, as the machine said",
        "{bad} von {points} Punkten an {bodies} Karosserien waren laut Maschine nicht OK",
    ),
    "analysis.none_bad": ("Every point was OK.", "Jeder Punkt war OK."),
    "analysis.more": ("and {count} more, in the file", "und {count} weitere, in der Datei"),
    "analysis.so_far": ("share so far", "Anteil bis hier"),
    "analysis.where": ("{name}: the newest", "{name}: die neuesten"),
    "analysis.where.none": (
        "None on the newest 50 bodies.",
        "Keiner an den neuesten 50 Karosserien.",
    ),
    "analysis.control": ("Has it changed", "Hat es sich geändert"),
    "analysis.series": ("Of what", "Wovon"),
    "analysis.series.nok": ("NOK", "NOK"),
    "analysis.series.review": ("REVIEW", "REVIEW"),
    "analysis.series.missed": ("NOT_INSPECTED", "NOT_INSPECTED"),
    "analysis.together": ("Together", "Zusammen"),
    "analysis.too_few": (
        "{count} subgroups: a chart needs four at least.",
        "{count} Gruppen: eine Karte braucht mindestens vier.",
    ),
    "analysis.about.p": (
        "Laney's p′ chart: limits of the first {base} subgroups, {spread} times as wide as chance.",
        "Laneys p′-Karte. Grenzen aus den ersten {base} Gruppen, {spread}-mal so weit wie Zufall.",
    ),
    "analysis.about.u": (
        "Laney's u′ chart: limits of the first {base} subgroups, {spread} times as wide as chance.",
        "Laneys u′-Karte. Grenzen aus den ersten {base} Gruppen, {spread}-mal so weit wie Zufall.",
    ),
    "analysis.about.g": (
        (
            "Fewer than {least} in a subgroup: the g chart of subgroups between two that have any."
            " Limits from the first {base} gaps."
        ),
        (
            "Weniger als {least} je Gruppe: die g-Karte der Gruppen zwischen zweien, die welche"
            " haben. Grenzen aus den ersten {base} Abständen."
        ),
    ),
    "analysis.stable": ("✓ No rule has fired.", "✓ Keine Regel hat angeschlagen."),
    "analysis.above": ("above", "über"),
    "analysis.below": ("below", "unter"),
    "analysis.rule.1": (
        "{part} lies {side} the limit (rule 1).",
        "{part} liegt {side} der Grenze (Regel 1).",
    ),
    "analysis.rule.2": (
        "Two of three from {first} to {part} lie far {side} the centre (rule 2).",
        "Zwei von drei von {first} bis {part} liegen weit {side} der Mitte (Regel 2).",
    ),
    "analysis.rule.3": (
        "Four of five from {first} to {part} lie {side} the centre (rule 3): it has moved.",
        "Vier von fünf von {first} bis {part} liegen {side} der Mitte (Regel 3): sie wandert.",
    ),
    "analysis.rule.4": (
        "Eight in a row from {first} to {part} lie {side} the centre (rule 4): it has moved.",
        "Acht in Folge von {first} bis {part} liegen {side} der Mitte (Regel 4): sie wandert.",
    ),
    "analysis.repeated": ("The same point again", "Immer derselbe Punkt"),
    "analysis.repeated.hint": (
        "{count} NOK at one point within {within} bodies",
        "{count} NOK an einem Punkt innerhalb von {within} Karosserien",
    ),
    "analysis.repeated.none": (
        "Not on the newest {count} bodies.",
        "An den neuesten {count} Karosserien nicht.",
    ),
    "analysis.repeated.at": (
        "{point}: NOK on {count} of the newest bodies",
        "{point}: NOK an {count} der neuesten Karosserien",
    ),
    "analysis.judged": ("What people made of it", "Was Personen daraus machten"),
    "analysis.judged.none": (
        "Nobody has decided on anything in this time.",
        "In dieser Zeit hat niemand etwas entschieden.",
    ),
    "analysis.overkill": (
        "{good} of {all} decided points were good: {share} overkill (95 %: {lower} to {upper}).",
        "{good} von {all} entschiedenen waren gut: {share} Pseudofehler (95 %: {lower}–{upper}).",
    ),
    "analysis.escapes": ("{count} escapes were found.", "{count} Durchschlüpfe wurden gefunden."),
    "analysis.judged.hint": (
        "What nobody has looked at is in neither number.",
        "Was niemand angesehen hat, ist in keiner der Zahlen.",
    ),
    "analysis.trend": ("Trend of a gun, of a point", "Verlauf einer Zange, eines Punkts"),
    "analysis.trend.point": ("Point", "Punkt"),
    "analysis.trend.choose": (
        "Choose a gun or a point: how sure the model was of a defect there, body after body.",
        "Zange oder Punkt wählen: wie sicher das Modell eines Fehlers war, Teil um Teil.",
    ),
    "analysis.trend.few": (
        "Fewer than four bodies with scores of a model that is known here.",
        "Weniger als vier Karosserien mit Werten eines Modells, das hier bekannt ist.",
    ),
    "analysis.trend.rises": (
        "▲ It rises over {bodies}: {slope} hundredths a body (p = {p}). Look at the electrode.",
        "▲ Er steigt über {bodies}: {slope} Hundertstel je Teil (p = {p}). Elektrode ansehen.",
    ),
    "analysis.trend.flat": (
        "No rise over {bodies}: {slope} hundredths a body (p = {p}).",
        "Kein Anstieg über {bodies}: {slope} Hundertstel je Teil (p = {p}).",
    ),
    "analysis.per": ("Counted as", "Gezählt als"),
    "analysis.per.points": ("share of points", "Anteil der Punkte"),
    "analysis.per.body": ("per body", "je Karosserie"),
    "analysis.trend.gun": ("Gun", "Zange"),
    "analysis.trend.any_gun": ("any gun", "jede Zange"),
    "analysis.trend.of_gun": (
        "{count} of its points, their mean on each body",
        "{count} ihrer Punkte, im Mittel je Karosserie",
    ),
    "analysis.trend.newest": ("{point} on {part}, the newest", "{point} an {part}, das neueste"),
    "analysis.measured": (
        "Measured, mm: individual values, limits of the first {base}",
        "Gemessen, mm: Einzelwerte, Grenzen aus den ersten {base}",
    ),
    "analysis.measured.ranges": (
        "Moving range, mm: from one value to the next",
        "Gleitende Spannweite, mm: von einem Wert zum nächsten",
    ),
    "analysis.measured.few": (
        "Measured here: {count} values. A chart of individual values needs {least}.",
        "Hier gemessen: {count} Werte. Eine Einzelwertkarte braucht {least}.",
    ),
    "analysis.drift": ("Drift", "Drift"),
    "analysis.drift.hint": (
        "Questions asked: {asked}. Where nothing has changed, one page in a hundred is alarmed.",
        "Gestellte Fragen: {asked}. Wo sich nichts änderte, schlägt eine Seite von hundert an.",
    ),
    "analysis.drift.counts": (
        (
            "Classes and reasons: the newest {now} quarters of an hour with production against the"
            " first {before} with this plan."
        ),
        (
            "Klassen und Gründe: die neuesten {now} Viertelstunden mit Produktion gegen die ersten"
            " {before} mit diesem Plan."
        ),
    ),
    "analysis.drift.scores": (
        "Scores: the newest {new} bodies against the first {old} of the same model.",
        "Werte: die neuesten {new} Karosserien gegen die ersten {old} desselben Modells.",
    ),
    "analysis.drift.few": (
        (
            "Too little to compare yet: {least} quarters of an hour with production after the first"
            " {period} of this plan are needed, or {bodies} bodies with scores of one model before"
            " and after."
        ),
        (
            "Noch zu wenig zum Vergleichen: nötig sind {least} Viertelstunden mit Produktion nach"
            " den ersten {period} dieses Plans, oder {bodies} Karosserien mit Werten eines Modells"
            " vorher und nachher."
        ),
    ),
    "analysis.drift.none": ("✓ Nothing has drifted.", "✓ Nichts ist gedriftet."),
    "analysis.drift.camera": ("Camera {name}", "Kamera {name}"),
    "analysis.drift.gun": ("Gun {name}", "Zange {name}"),
    "analysis.drift.score": ("defect score", "Fehlerwert"),
    "analysis.drift.rank": ("score against training", "Wert gegen Training"),
    "analysis.drift.training": (
        "Training: where scores lie among those of good points there, 0 to 1; 0.5 is alike.",
        "Training: Rang der Werte unter denen guter Punkte dort, 0 bis 1; 0,5 ist gleich.",
    ),
    "analysis.drift.trained": (
        "{unit}: scores have rank {now} among those in training, {before} is alike (p = {p}).",
        "{unit}: Werte haben Rang {now} unter denen des Trainings, gleich wäre {before} (p = {p}).",
    ),
    "analysis.drift.count": (
        "{unit}: {what} at {now} of the points, {before} at first (p = {p}).",
        "{unit}: {what} an {now} der Punkte, anfangs {before} (p = {p}).",
    ),
    "analysis.drift.scored": (
        "{unit}: the defect score of a body is {now}, {before} at first (p = {p}).",
        "{unit}: der Fehlerwert einer Karosserie ist {now}, anfangs {before} (p = {p}).",
    ),
    "analysis.drift.unit": ("Camera, gun", "Kamera, Zange"),
    "analysis.drift.what": ("Of what", "Wovon"),
    "analysis.drift.before": ("At first", "Anfangs"),
    "analysis.drift.now": ("Now", "Jetzt"),
    "analysis.drift.all": ("All that was asked ({count})", "Alles, was gefragt wurde ({count})"),
    # ----------------------------------------------------------------------------------- parts
    "parts.search": ("Part", "Teil"),
    "parts.example": ("VIN, or how it begins", "FIN oder ihr Anfang"),
    "parts.found": ("Begins like this: {count}", "Beginnt so: {count}"),
    "parts.newest": ("The newest parts", "Die neuesten Teile"),
    "parts.nothing": ("Nothing is on record as {text}.", "Unter {text} ist nichts aufgezeichnet."),
    "parts.none": ("Choose a part at the left.", "Links ein Teil wählen."),
    "parts.unknown": (
        "Nothing is on record of part {part}.",
        "Von Teil {part} ist nichts aufgezeichnet.",
    ),
    "parts.no_plan": (
        "✕ The plan of this run cannot be read any more: restore a backup of the store.",
        "✕ Der Plan dieses Laufs ist nicht mehr lesbar: eine Sicherung des Speichers einspielen.",
    ),
    "parts.no_point": ("The plan has no point {point}.", "Der Plan hat keinen Punkt {point}."),
    "parts.no_record": (
        "… Nothing is on record of this point in this run.",
        "… Von diesem Punkt ist in diesem Lauf nichts aufgezeichnet.",
    ),
    "parts.balance": (
        (
            "{planned} planned = {ok} OK + {nok} NOK + {review} REVIEW + {missed} NOT_INSPECTED"
            " + {open} open"
        ),
        (
            "{planned} geplant = {ok} OK + {nok} NOK + {review} REVIEW + {missed} NOT_INSPECTED"
            " + {open} offen"
        ),
    ),
    "parts.json.help": (
        "Everything on record of this part, with the digests and seals that prove it",
        "Alles Aufgezeichnete zu diesem Teil, mit den Prüfsummen und Siegeln, die es beweisen",
    ),
    "parts.pdf.help": (
        "The same to read, with the pictures of what is not OK",
        "Dasselbe zum Lesen, mit den Bildern von dem, was nicht OK ist",
    ),
    "parts.runs": ("Runs", "Läufe"),
    "parts.not_ok": ("Not OK or decided on: {count}", "Nicht OK oder entschieden: {count}"),
    "parts.point": ("Point", "Punkt"),
    "parts.finding": ("What", "Was"),
    "parts.any_point": ("Any point of the plan", "Jeder Punkt des Plans"),
    "parts.any_point.hint": ("Type its id", "Seine Kennung eintippen"),
    "parts.view": ("View", "Ansicht"),
    "parts.kind": ("Kind", "Art"),
    "parts.gun": ("Gun", "Zange"),
    "parts.program": ("Program", "Programm"),
    "parts.stack": ("Stack", "Blechpaket"),
    "parts.place": ("Place", "Lage"),
    "gauge.measures": ("Measured", "Gemessen"),
    "gauge.values": (
        "Ø {diameter} ± {diameter_pm}, at {x}, {y} ± {centre_pm}, round {roundness} mm",
        "Ø {diameter} ± {diameter_pm}, bei {x}, {y} ± {centre_pm}, rund {roundness} mm",
    ),
    "gauge.diameter": ("Imprint, diameter in mm", "Abdruck, Durchmesser in mm"),
    "gauge.offset": ("Imprint, offset in mm", "Abdruck, Versatz in mm"),
    "gauge.roundness": ("Imprint, roundness in mm", "Abdruck, Rundheit in mm"),
    "parts.model": ("Model package", "Modellpaket"),
    "parts.policy": ("Policy", "Policy"),
    "parts.picture": ("Picture", "Bild"),
    "parts.record": ("Record", "Datensatz"),
    "parts.attempt": ("Attempt", "Versuch"),
    "parts.said": ("What people said", "Was Personen sagten"),
    "parts.word": (
        "{when} {person}: {action} {finding}",
        "{when} {person}: {action} {finding}",
    ),
    "parts.look": (
        "{when} {person} looked again: {word} ({method})",
        "{when} {person} sah noch einmal hin: {word} ({method})",
    ),
    "parts.history": (
        "This point on the {count} bodies before, the newest first",
        "Dieser Punkt an den {count} Karosserien davor, die neueste zuerst",
    ),
    # ------------------------------------------------------------------------------ agreement
    "page.agreement": ("Agreement", "Übereinstimmung"),
    "agree.what": (
        (
            "How well people and the machine agree with each other and with the truth: studies"
            " after AIAG MSA (4th edition). They are about what can be seen; a picture shows no"
            " nugget."
        ),
        (
            "Wie gut Menschen und Maschine miteinander und mit der Wahrheit übereinstimmen:"
            " Studien nach AIAG MSA (4. Auflage). Es geht um Sichtbares; ein Bild zeigt keine"
            " Linse."
        ),
    ),
    "agree.none": ("No study has been planned yet.", "Noch ist keine Studie geplant."),
    "agree.unreadable": (
        "The studies cannot be read: {fault}.",
        "Die Studien können nicht gelesen werden: {fault}.",
    ),
    "agree.broken": (
        "Study {study} cannot be evaluated: {fault}",
        "Studie {study} kann nicht ausgewertet werden: {fault}",
    ),
    "agree.gone": (
        "There is no study {study} in this store.",
        "In diesem Speicher gibt es keine Studie {study}.",
    ),
    "agree.studies": ("Studies", "Studien"),
    "agree.open": ("Open", "Öffnen"),
    "agree.back": ("All studies", "Alle Studien"),
    "agree.kind.attribute": ("good or defect", "gut oder fehlerhaft"),
    "agree.kind.variables": ("measured values", "Messwerte"),
    "agree.by": ("planned by {person}, {when}", "geplant von {person}, {when}"),
    "agree.size": (
        "{items} parts, {borderline} of them borderline, {trials} trials",
        "{items} Teile, davon {borderline} grenzwertig, {trials} Durchgänge",
    ),
    "agree.size.values": ("{values} values", "{values} Werte"),
    "agree.progress": ("{name} {given} of {asked}", "{name} {given} von {asked}"),
    "agree.seed": ("order drawn from seed {seed}", "Reihenfolge aus Startzahl {seed}"),
    "agree.tab.appraise": ("Judge", "Beurteilen"),
    "agree.tab.panel": ("Reference", "Referenz"),
    "agree.tab.evaluate": ("Evaluate", "Auswerten"),
    "agree.plan": ("Plan a study", "Studie planen"),
    "agree.plan.words": ("Parts that are judged", "Teile, die beurteilt werden"),
    "agree.plan.values": ("Values that were measured (CSV)", "Werte, die gemessen wurden (CSV)"),
    "agree.plan.role": (
        "Planning a study needs the role quality.",
        "Eine Studie plant, wer die Rolle quality hat.",
    ),
    "agree.plan.id": ("Study id", "Kennung der Studie"),
    "agree.plan.title": ("Title", "Titel"),
    "agree.plan.items": ("Parts", "Teile"),
    "agree.plan.items.help": (
        (
            "The handbook's example has 50. Fewer show less: the evaluation says how many would"
            " be needed."
        ),
        (
            "Das Beispiel des Handbuchs hat 50. Weniger zeigen weniger: die Auswertung sagt,"
            " wie viele nötig wären."
        ),
    ),
    "agree.plan.borderline": ("Borderline, %", "Grenzwertig, %"),
    "agree.plan.borderline.help": (
        "Parts whose scores are near a threshold, or that the machine sent to a person.",
        (
            "Teile, deren Werte nahe an einer Schwelle liegen oder die die Maschine einem"
            " Menschen vorlegte."
        ),
    ),
    "agree.plan.appraisers": ("Appraisers (users, with commas)", "Prüfer (Benutzer, mit Komma)"),
    "agree.plan.trials": ("Trials", "Durchgänge"),
    "agree.plan.seed": ("Seed", "Startzahl"),
    "agree.plan.system": ("The machine takes part", "Die Maschine nimmt teil"),
    "agree.plan.system.help": (
        (
            "Its trials are fresh captures: further runs of the same part through the station."
            " The same picture judged again is no trial."
        ),
        (
            "Ihre Durchgänge sind frische Aufnahmen: weitere Läufe desselben Teils durch die"
            " Station. Dasselbe Bild noch einmal zu beurteilen ist kein Durchgang."
        ),
    ),
    "agree.plan.measure": ("Each part is measured too", "Jedes Teil wird auch gemessen"),
    "agree.plan.measure.help": (
        "Beside the word the appraiser types what a probe says, in mm; the part is named to him.",
        "Neben dem Wort gibt der Prüfer ein, was eine Sonde sagt, in mm; er erfährt das Teil.",
    ),
    "agree.measured": ("Measured, mm", "Gemessen, mm"),
    "agree.measured.not_yet": ("Not evaluated yet: {fault}.", "Noch nicht ausgewertet: {fault}."),
    "agree.plan.decided": (
        "Reference from decisions where there are any",
        "Referenz aus Entscheidungen, wo es welche gibt",
    ),
    "agree.plan.decided.help": (
        (
            "Who decided saw what the machine said. A panel that looks at the parts themselves"
            " is better."
        ),
        (
            "Wer entschied, sah, was die Maschine sagte. Besser ist ein Gremium, das die Teile"
            " selbst ansieht."
        ),
    ),
    "agree.plan.reference_by": ("Who gives the reference", "Wer die Referenz gibt"),
    "agree.plan.choose": ("Choose parts", "Teile auswählen"),
    "agree.plan.keep": ("Plan this study", "Diese Studie planen"),
    "agree.plan.drop": ("Choose again", "Neu auswählen"),
    "agree.plan.chosen": (
        (
            "{items} parts chosen: {borderline} borderline ({share}), {good} with reference"
            " good, {defect} with reference defect, {unknown} that a panel has to judge first."
        ),
        (
            "{items} Teile ausgewählt: {borderline} grenzwertig ({share}), {good} mit Referenz"
            " gut, {defect} mit Referenz fehlerhaft, {unknown} muss erst ein Gremium"
            " beurteilen."
        ),
    ),
    "agree.plan.few": (
        "Only {items} parts with a picture were found in the newest runs.",
        "In den neuesten Läufen fanden sich nur {items} Teile mit Bild.",
    ),
    "agree.plan.not_borderline": (
        (
            "30 to 50 % of the parts should be borderline; here it is {share}. Easy parts flatter"
            " everybody."
        ),
        (
            "30 bis 50 % der Teile sollen grenzwertig sein; hier sind es {share}. Leichte Teile"
            " schmeicheln allen."
        ),
    ),
    "agree.plan.short": (
        (
            "The machine has not enough captures of {count} of {items} parts: it needs {trials}"
            " of each. Send those parts through the station again before the evaluation."
        ),
        (
            "Die Maschine hat von {count} der {items} Teile zu wenige Aufnahmen: sie braucht"
            " {trials} von jedem. Diese Teile vor der Auswertung noch einmal durch die Station"
            " schicken."
        ),
    ),
    "agree.plan.sealed": (
        (
            "What is planned is sealed by the station and cannot be changed: parts, appraisers,"
            " order and reference stand before the first answer."
        ),
        (
            "Was geplant ist, versiegelt die Station und ist nicht zu ändern: Teile, Prüfer,"
            " Reihenfolge und Referenz stehen vor der ersten Antwort fest."
        ),
    ),
    "agree.plan.kept": ("Study {study} is planned.", "Studie {study} ist geplant."),
    "agree.plan.wrong": ("Not planned: {fault}", "Nicht geplant: {fault}"),
    "agree.plan.file": (
        "CSV with part, appraiser, trial, value",
        "CSV mit part, appraiser, trial, value",
    ),
    "agree.plan.unit": ("Unit", "Einheit"),
    "agree.plan.tolerance": ("Tolerance (width; 0: none)", "Toleranz (Breite; 0: keine)"),
    "agree.plan.reference_value": (
        "Reference value (study of type 1: one part)",
        "Referenzwert (Studie Typ 1: ein Teil)",
    ),
    "agree.ask": ("Good or defect?", "Gut oder fehlerhaft?"),
    "agree.ask.panel": ("What is it truly?", "Was ist es wirklich?"),
    "agree.trial": ("trial {trial} of {trials}", "Durchgang {trial} von {trials}"),
    "agree.so_far": ("{given} of {asked} answered", "{given} von {asked} beantwortet"),
    "agree.blind": (
        (
            "Neither id nor scores nor earlier answers are shown: judge what you see. You can"
            " stop at any time and go on later where you were."
        ),
        (
            "Weder Kennung noch Werte noch frühere Antworten werden gezeigt: beurteile, was du"
            " siehst. Du kannst jederzeit aufhören und später dort weitermachen."
        ),
    ),
    "agree.good": ("Good", "Gut"),
    "agree.defect": ("Defect", "Fehlerhaft"),
    "agree.cannot_tell": ("Cannot tell", "Nicht zu sagen"),
    "agree.again": ("Last one again", "Das letzte noch einmal"),
    "agree.again.help": (
        "Shows the last picture once more; the new answer counts, and the correction is counted.",
        (
            "Zeigt das letzte Bild noch einmal; die neue Antwort zählt, und die Korrektur wird"
            " gezählt."
        ),
    ),
    "agree.correcting": (
        "You answer the last one again.",
        "Du beantwortest das letzte noch einmal.",
    ),
    "agree.done": ("You are through: {given} of {asked}.", "Du bist fertig: {given} von {asked}."),
    "agree.not_yours": (
        "You are no appraiser of this study: {names}.",
        "Du bist kein Prüfer dieser Studie: {names}.",
    ),
    "agree.not_panel": (
        "Appraisers do not give the reference: they would judge against their own word.",
        "Prüfer geben keine Referenz: sie würden gegen ihr eigenes Wort beurteilt.",
    ),
    "agree.panel.none": (
        "Every part has a reference already.",
        "Jedes Teil hat schon eine Referenz.",
    ),
    "agree.log_in": ("Log in (top right) to judge.", "Zum Beurteilen oben rechts anmelden."),
    "agree.kept": ("Recorded: {word}.", "Aufgezeichnet: {word}."),
    "agree.picture": ("the part to judge", "das zu beurteilende Teil"),
    "agree.too_fast": (
        "That was faster than anybody sees; the answer was not taken.",
        "Das war schneller, als jemand sieht; die Antwort wurde nicht genommen.",
    ),
    "agree.hidden": (
        (
            "The evaluation is shown when every appraiser is through, so that nobody judges by"
            " what others said."
        ),
        (
            "Die Auswertung wird gezeigt, wenn alle Prüfer fertig sind, damit niemand nach dem"
            " urteilt, was andere sagten."
        ),
    ),
    "agree.partial": (
        (
            "Not finished: {given} of {asked} judgements. What follows can change; nothing is"
            " shown by it yet."
        ),
        (
            "Nicht fertig: {given} von {asked} Urteilen. Was folgt, kann sich ändern; gezeigt"
            " ist damit noch nichts."
        ),
    ),
    "agree.unknown": (
        "{count} parts have no reference yet and are left out.",
        "{count} Teile haben noch keine Referenz und sind ausgelassen.",
    ),
    "agree.split": (
        "Of {count} parts the panel did not say the same, or could not tell: they are left out.",
        (
            "Bei {count} Teilen war sich das Gremium nicht einig oder konnte es nicht sagen:"
            " sie sind ausgelassen."
        ),
    ),
    "agree.corrected": (
        "{count} answers were given again; they count where nothing was answered in between.",
        "{count} Antworten wurden wiederholt; sie zählen, wo dazwischen nichts beantwortet war.",
    ),
    "agree.short": (
        (
            "The machine has too few captures of {count} parts ({trials} are needed): send them"
            " through the station again. Until then its row is not finished."
        ),
        (
            "Die Maschine hat von {count} Teilen zu wenige Aufnahmen ({trials} sind nötig):"
            " noch einmal durch die Station schicken. Bis dahin ist ihre Zeile nicht fertig."
        ),
    ),
    "agree.appraisers": (
        "Appraisers against the handbook's limits",
        "Prüfer gegen die Grenzen des Handbuchs",
    ),
    "agree.col.appraiser": ("Appraiser", "Prüfer"),
    "agree.col.verdict": ("Verdict", "Urteil"),
    "agree.col.effectiveness": ("Effectiveness", "Wirksamkeit"),
    "agree.col.miss": ("Missed", "Übersehen"),
    "agree.col.false_alarm": ("False alarm", "Falschalarm"),
    "agree.col.within": ("With oneself", "Mit sich selbst"),
    "agree.col.reference": ("With the reference", "Mit der Referenz"),
    "agree.col.cannot_tell": ("Cannot tell", "Nicht zu sagen"),
    "agree.limits.effectiveness": (
        "acceptable from {good}, marginal from {poor}",
        "annehmbar ab {good}, grenzwertig ab {poor}",
    ),
    "agree.limits.miss": (
        "acceptable to {good}, marginal to {poor}",
        "annehmbar bis {good}, grenzwertig bis {poor}",
    ),
    "agree.limits.false_alarm": (
        "acceptable to {good}, marginal to {poor}",
        "annehmbar bis {good}, grenzwertig bis {poor}",
    ),
    "agree.grade.acceptable": ("acceptable", "annehmbar"),
    "agree.grade.marginal": ("marginal", "grenzwertig"),
    "agree.grade.unacceptable": ("unacceptable", "nicht annehmbar"),
    "agree.of": ("{some} of {all}", "{some} von {all}"),
    "agree.interval": ("95 %: {lower} to {upper}", "95 %: {lower} bis {upper}"),
    "agree.shown": ("shown", "gezeigt"),
    "agree.not_shown": ("not shown with this n", "mit diesem n nicht gezeigt"),
    "agree.needed.effectiveness": (
        "{count} parts like these would show it",
        "{count} solche Teile würden es zeigen",
    ),
    "agree.needed.miss": (
        "{count} defect parts like these would show it",
        "{count} solche fehlerhaften Teile würden es zeigen",
    ),
    "agree.needed.false_alarm": (
        "{count} good parts like these would show it",
        "{count} solche guten Teile würden es zeigen",
    ),
    "agree.needed.never": (
        "at this rate no number of parts would show it",
        "bei dieser Rate würde es keine Zahl von Teilen zeigen",
    ),
    "agree.nothing": ("nothing to count", "nichts zu zählen"),
    "agree.unfinished": ("{count} parts not finished", "{count} Teile nicht fertig"),
    "agree.says": ("{name} is {grade}: {why}.", "{name} ist {grade}: {why}."),
    "agree.says.nothing": (
        "{name} has not yet judged a part in every trial.",
        "{name} hat noch kein Teil in jedem Durchgang beurteilt.",
    ),
    "agree.says.shown": ("it is shown with this n", "mit diesem n ist es gezeigt"),
    "agree.says.not_shown": (
        "the figures say so, but it is not shown with this n",
        "die Werte sagen es, aber mit diesem n ist es nicht gezeigt",
    ),
    "agree.says.open": (
        "so far, because {count} parts are not finished",
        "bisher, denn {count} Teile sind nicht fertig",
    ),
    "agree.kappas": (
        "Kappa: agreement beyond chance",
        "Kappa: Übereinstimmung über den Zufall hinaus",
    ),
    "agree.kappas.hint": (
        (
            "{letters}: A good (above 0.75), B between, C poor (below 0.40). Beneath: 95 %"
            " bounds, parts as the unit."
        ),
        (
            "{letters}: A gut (über 0,75), B dazwischen, C schlecht (unter 0,40). Darunter: 95"
            " %-Grenzen, Teile als Einheit."
        ),
    ),
    "agree.kappa.none": ("–", "–"),
    "agree.reference": ("reference", "Referenz"),
    "agree.overall": (
        (
            "All of them, in every trial (Fleiss): {kappa}. {agreed} parts were called the same"
            " by all every time, {correct} of them right."
        ),
        (
            "Alle, in jedem Durchgang (Fleiss): {kappa}. {agreed} Teile nannten alle jedes Mal"
            " gleich, {correct} davon richtig."
        ),
    ),
    "agree.disagreements": (
        "Parts that were not always called right",
        "Teile, die nicht immer richtig genannt wurden",
    ),
    "agree.disagreements.none": (
        "Every part was called right every time.",
        "Jedes Teil wurde jedes Mal richtig genannt.",
    ),
    "agree.filter": ("Show", "Zeige"),
    "agree.filter.all": ("all ({count})", "alle ({count})"),
    "agree.filter.miss": ("{name}: missed ({count})", "{name}: übersehen ({count})"),
    "agree.filter.false_alarm": ("{name}: false alarm ({count})", "{name}: Falschalarm ({count})"),
    "agree.item": ("part {item}", "Teil {item}"),
    "agree.truth": ("truly {word}", "wirklich {word}"),
    "agree.borderline": ("borderline", "grenzwertig"),
    "agree.to_part": ("{part}, {point}: open in Parts", "{part}, {point}: in Teile öffnen"),
    "agree.export.answers": ("Judgements (CSV)", "Urteile (CSV)"),
    "agree.export.figures": ("Figures (CSV)", "Werte (CSV)"),
    "agree.gauge": (
        "Gauge repeatability and reproducibility",
        "Wiederhol- und Vergleichspräzision",
    ),
    "agree.gauge.says.acceptable": (
        (
            "{grr} of the spread is the measuring, with {ndc} distinct categories: the"
            " measuring system is acceptable."
        ),
        (
            "{grr} der Streuung ist das Messen, bei {ndc} unterscheidbaren Klassen: das"
            " Messsystem ist annehmbar."
        ),
    ),
    "agree.gauge.says.marginal": (
        (
            "{grr} of the spread is the measuring, with {ndc} distinct categories: marginal (10"
            " to 30 %, or fewer than 5 categories); whether it serves depends on what is"
            " decided by it."
        ),
        (
            "{grr} der Streuung ist das Messen, bei {ndc} unterscheidbaren Klassen: grenzwertig"
            " (10 bis 30 % oder weniger als 5 Klassen); ob es genügt, hängt davon ab, was damit"
            " entschieden wird."
        ),
    ),
    "agree.gauge.says.unacceptable": (
        (
            "{grr} of the spread is the measuring, with {ndc} distinct categories: unacceptable"
            " (above 30 % of the total variation or of the tolerance)."
        ),
        (
            "{grr} der Streuung ist das Messen, bei {ndc} unterscheidbaren Klassen: nicht"
            " annehmbar (über 30 % der Gesamtstreuung oder der Toleranz)."
        ),
    ),
    "agree.gauge.of_tolerance": (
        "The measuring takes {share} of the tolerance.",
        "Das Messen braucht {share} der Toleranz.",
    ),
    "agree.gauge.alone": (
        "A single appraiser: reproducibility between appraisers is not in this study.",
        "Ein einziger Prüfer: Vergleichspräzision zwischen Prüfern ist nicht in dieser Studie.",
    ),
    "agree.gauge.pooled": (
        "The interaction of parts and appraisers (p = {p}) is counted as repeatability.",
        "Die Wechselwirkung von Teilen und Prüfern (p = {p}) zählt zur Wiederholpräzision.",
    ),
    "agree.gauge.size": (
        "{parts} parts, {appraisers} appraisers, {trials} trials, analysis of variance",
        "{parts} Teile, {appraisers} Prüfer, {trials} Durchgänge, Varianzanalyse",
    ),
    "agree.gauge.source": ("Source", "Quelle"),
    "agree.gauge.deviation": ("Standard deviation", "Standardabweichung"),
    "agree.gauge.share": ("% of total variation", "% der Gesamtstreuung"),
    "agree.gauge.tolerance": ("% of tolerance (6 s)", "% der Toleranz (6 s)"),
    "agree.gauge.ev": ("Repeatability (EV)", "Wiederholpräzision (EV)"),
    "agree.gauge.av": ("Reproducibility (AV)", "Vergleichspräzision (AV)"),
    "agree.gauge.interaction": ("Interaction (INT)", "Wechselwirkung (INT)"),
    "agree.gauge.grr": ("Gauge (GRR)", "Messsystem (GRR)"),
    "agree.gauge.pv": ("Parts (PV)", "Teile (PV)"),
    "agree.gauge.tv": ("Total (TV)", "Gesamt (TV)"),
    "agree.table": ("Analysis of variance", "Varianzanalyse"),
    "agree.table.ss": ("Sum of squares", "Quadratsumme"),
    "agree.table.df": ("Degrees of freedom", "Freiheitsgrade"),
    "agree.table.ms": ("Mean square", "Mittleres Quadrat"),
    "agree.table.appraiser": ("Appraisers", "Prüfer"),
    "agree.table.part": ("Parts", "Teile"),
    "agree.table.both": ("Appraisers x parts", "Prüfer x Teile"),
    "agree.table.equipment": ("Equipment", "Messmittel"),
    "agree.table.total": ("Total", "Gesamt"),
    "agree.type1": (
        "Study of type 1: one reference, {count} measurements",
        "Studie Typ 1: eine Referenz, {count} Messungen",
    ),
    "agree.type1.capable": (
        "Cg = {cg}, Cgk = {cgk}: capable (both from 1.33).",
        "Cg = {cg}, Cgk = {cgk}: fähig (beide ab 1,33).",
    ),
    "agree.type1.not": (
        "Cg = {cg}, Cgk = {cgk}: not capable (both from 1.33).",
        "Cg = {cg}, Cgk = {cgk}: nicht fähig (beide ab 1,33).",
    ),
    "agree.type1.numbers": (
        (
            "Mean {mean}, standard deviation {deviation}, bias {bias} (p = {p}) against"
            " {reference} {unit}."
        ),
        (
            "Mittelwert {mean}, Standardabweichung {deviation}, Abweichung {bias} (p = {p})"
            " gegen {reference} {unit}."
        ),
    ),
}
"""Every text of every page but the reasons and events below: English, German."""

THIN_SPACE = "\u202f"
"""Between groups of digits: no reader takes it for a decimal sign, and no line breaks at it."""

VERDICT_MARKS: dict[Verdict, str] = {
    Verdict.OK: "✓",
    Verdict.NOK: "✕",
    Verdict.REVIEW: "?",
    Verdict.NOT_INSPECTED: "∅",
}
RUN_MARKS: dict[RunVerdict | None, str] = {
    RunVerdict.OK: "✓",
    RunVerdict.NOK: "✕",
    RunVerdict.HOLD: "‖",
    None: "…",
}
NEED_MARKS = {
    "second": "②",
    "disagreement": "⇄",
    "review": VERDICT_MARKS[Verdict.REVIEW],
    "nok": VERDICT_MARKS[Verdict.NOK],
    "not_inspected": VERDICT_MARKS[Verdict.NOT_INSPECTED],
}
SEVERITY_MARKS: dict[Severity, str] = {
    Severity.MINOR: "▪",
    Severity.MAJOR: "▪▪",
    Severity.CRITICAL: "▪▪▪",
}


def run_word(verdict: RunVerdict | None) -> str:
    """A run's verdict with its mark; None while it is open."""
    return f"{RUN_MARKS[verdict]} {say('open') if verdict is None else verdict.value}"


def severity_word(severity: Severity | None) -> str:
    """A severity with its mark; None where the plan does not say."""
    if severity is None:
        return say("severity.unknown")
    return f"{SEVERITY_MARKS[severity]} {say(f'severity.{severity.value}')}"


def verdict_word(verdict: Verdict) -> str:
    """A point's verdict with its mark."""
    return f"{VERDICT_MARKS[verdict]} {verdict.value}"


class Said(NamedTuple):
    """A reason in words."""

    short: str
    """A few words for a heading."""
    means: str
    do: str


REASONS: dict[Reason, Said] = {
    Reason.NONE: Said(
        "no reason given",
        "Nothing was found that would be wrong.",
        "Nothing to do.",
    ),
    Reason.DEFECT: Said(
        "defect",
        "The model sees a defect here.",
        "Look at the part, repair it, and have it inspected again.",
    ),
    Reason.UNCERTAIN: Said(
        "the model is not certain",
        "The model is sure neither that it is good nor that it is bad.",
        "Look at the picture, or at the part, and decide.",
    ),
    Reason.OUT_OF_DISTRIBUTION: Said(
        "unlike anything the model knows",
        "The picture differs from all that the model was trained on: it cannot be relied on here.",
        "Look at the picture: another material, lamp or part? Then decide.",
    ),
    Reason.OUTSIDE_LIMITS: Said(
        "measure outside its limit",
        "A measured value lies outside the plan's limit by more than it may be wrong.",
        "Compare the values at the point with the plan's limits.",
    ),
    Reason.NEAR_LIMIT: Said(
        "measure too near its limit",
        "The imprint was measured, but a value lies so near its limit that neither is proven.",
        "Measure the part, and decide.",
    ),
    Reason.NOT_MEASURED: Said(
        "imprint not measured",
        "The gauge found no imprint that it could measure.",
        "Look at the picture: is the weld there? Then decide.",
    ),
    Reason.NO_IMAGE: Said(
        "no picture",
        "The camera gave no picture when it was asked.",
        "Check the camera's power, cable and trigger.",
    ),
    Reason.IMAGE_UNREADABLE: Said(
        "picture unreadable",
        "What the camera gave is no whole picture.",
        "Check the camera's cable and network; take the picture again.",
    ),
    Reason.IMAGE_WRONG_SIZE: Said(
        "picture of another size",
        "The picture is not of the size that the plan says.",
        "Check the camera's resolution, or put the right size into the plan.",
    ),
    Reason.IMAGE_TOO_DARK: Said(
        "picture too dark",
        "The picture is black and without contrast.",
        "Check the lamp, the lens cap and the exposure.",
    ),
    Reason.IMAGE_TOO_BRIGHT: Said(
        "picture too bright",
        "The picture is white and without contrast.",
        "Check for glare and the exposure.",
    ),
    Reason.MISALIGNED: Said(
        "part not in place",
        "The part's marks are not where a part may stand, or the picture shows another view.",
        "Check that the right part stands in its place and that nothing covers the marks.",
    ),
    Reason.OUT_OF_FOCUS: Said(
        "picture blurred",
        "The picture is out of focus here, or the part moved while it was taken.",
        "Check the lens, the distance, the exposure time, and that the part stands still.",
    ),
    Reason.GLARE: Said(
        "glare",
        "A reflection covers the point.",
        "Check for new lamps or daylight, and for oil on the part.",
    ),
    Reason.WRONG_CONTENT: Said(
        "something else in the picture",
        "What the picture shows here is not the planned place, or something is in front of it.",
        "Look at the picture: check that the part stands right and that nothing is in the way.",
    ),
    Reason.FROZEN: Said(
        "camera frozen",
        "The camera gave the same picture twice: it does not show what is there now.",
        "Switch the camera off and on; if it happens again, have it replaced.",
    ),
    Reason.MODEL_UNAVAILABLE: Said(
        "model not loaded",
        "The edge could not load the model that the plan wants.",
        "Read the edge's log: the package may be missing, changed or refused by its own test.",
    ),
    Reason.MODEL_OUTPUT_INVALID: Said(
        "model gave no usable scores",
        "What the model computed are no probabilities, so they count for nothing.",
        "Keep the picture, tell whoever made the model, and go back to the last version.",
    ),
    Reason.MODEL_NOT_RELEASED: Said(
        "another model than released",
        "The edge judged with a model or policy that this station has not released.",
        "Install the released package on the edge, or release the new one at the station.",
    ),
    Reason.POLICY_DISAGREES: Said(
        "edge and station disagree",
        "The policy applied to the same scores at the station says something else than the edge.",
        "Compare the software versions of edge and station.",
    ),
    Reason.MODEL_HUNG: Said(
        "inference ended",
        "The model had not come back after the time that the edge gives it, and was stopped.",
        "If it happens again: keep the picture, tell whoever made the model, and go back to the"
        " last version.",
    ),
    Reason.EDGE_NOT_CONNECTED: Said(
        "edge not connected",
        "No edge with this camera was connected.",
        "Start the edge, or check its network to the station.",
    ),
    Reason.EDGE_LOST: Said(
        "edge lost",
        "The edge was asked, fell silent and could not be asked again.",
        "Check the edge's power and log; have the part inspected again.",
    ),
    Reason.EDGE_FAILED: Said(
        "edge failed",
        "The edge could not finish and did not say more.",
        "Read the edge's log of that time.",
    ),
    Reason.LATE: Said(
        "too late",
        "No answer came before the plan's deadline.",
        "If it happens again: give the plan more time, or the edge fewer points.",
    ),
    Reason.NOT_TRIGGERED: Said(
        "not triggered",
        "The PLC never asked for this view.",
        "Check the robot program and the PLC's sequence of views.",
    ),
    Reason.RUN_ENDED: Said(
        "run ended before",
        "The PLC ended the run before this view was asked for.",
        "Check why the cycle was cut short; have the part inspected again.",
    ),
    Reason.STATION_RESTARTED: Said(
        "station restarted",
        "The station's machine was restarted while the run was open.",
        "Have the part inspected again.",
    ),
    Reason.RECORD_UNREADABLE: Said(
        "record unreadable",
        "The edge's record of this point cannot be read.",
        "Have the part inspected again; check the edge's disk.",
    ),
    Reason.RECORD_LOST: Said(
        "record lost",
        "The edge's answer left this point out, or its record is gone.",
        "Have the part inspected again; check the edge's disk.",
    ),
    Reason.RECORD_CONFLICT: Said(
        "two different answers",
        "The same question was answered twice, and not in the same way.",
        "Have the part inspected again; check that no edge runs twice.",
    ),
    Reason.REPAIRED: Said(
        "repaired, not looked at since",
        "Somebody has repaired the part here, so that what was seen before no longer holds.",
        "Have the point inspected again, or inspect the part itself and say by which method.",
    ),
    Reason.DISAGREEMENT: Said(
        "people disagree",
        "One person said that it is a defect and another that it is none.",
        "Look at it together; whoever was wrong says so, and the point is settled.",
    ),
    Reason.BYPASSED: Said(
        "inspection bypassed",
        "Somebody had switched the inspection off when the part stood here.",
        "Inspect the part itself, or send it through the station again.",
    ),
    Reason.SUPERSEDED: Said(
        "a later run exists",
        "The part has been inspected again since, and only its latest run can make it OK.",
        "Look at the latest run of the part.",
    ),
    Reason.CHALLENGE_DUE: Said(
        "no challenge part in time",
        "No part with known defects had gone through the line within the time that the plan sets.",
        "Put a challenge part through the station, then inspect this part again.",
    ),
    Reason.CHALLENGE_FAILED: Said(
        "challenge part not detected",
        "The line had missed a known defect of a challenge part.",
        "Find out why, pass a challenge, then inspect this part again.",
    ),
    Reason.CHALLENGE_PART: Said(
        "a challenge part",
        "This part has known defects and is there to prove that the line finds them.",
        "Put it back on its shelf: it is never released.",
    ),
}


GERMAN_REASONS: dict[Reason, Said] = {
    Reason.NONE: Said(
        "kein Grund genannt",
        "Es wurde nichts gefunden, was falsch wäre.",
        "Nichts zu tun.",
    ),
    Reason.DEFECT: Said(
        "Fehler",
        "Das Modell sieht hier einen Fehler.",
        "Teil ansehen, reparieren und erneut prüfen lassen.",
    ),
    Reason.UNCERTAIN: Said(
        "das Modell ist unsicher",
        "Das Modell ist weder sicher, dass es gut ist, noch, dass es schlecht ist.",
        "Bild oder Teil ansehen und entscheiden.",
    ),
    Reason.OUT_OF_DISTRIBUTION: Said(
        "anders als alles, was das Modell kennt",
        "Das Bild weicht von allem ab, womit das Modell trainiert wurde: hier ist kein Verlass.",
        "Bild ansehen: anderes Material, andere Lampe, anderes Teil? Dann entscheiden.",
    ),
    Reason.OUTSIDE_LIMITS: Said(
        "Maß außerhalb der Grenze",
        "Ein Maß liegt weiter jenseits der Grenze, als es falsch sein kann.",
        "Die Maße des Punkts mit den Grenzen des Plans vergleichen.",
    ),
    Reason.NEAR_LIMIT: Said(
        "Maß zu nah an der Grenze",
        "Der Abdruck wurde gemessen, aber so nah an einer Grenze, dass nichts bewiesen ist.",
        "Am Teil nachmessen und entscheiden.",
    ),
    Reason.NOT_MEASURED: Said(
        "Abdruck nicht gemessen",
        "Es war kein Abdruck zu finden, der sich messen lässt.",
        "Bild ansehen: ist der Schweißpunkt da? Dann entscheiden.",
    ),
    Reason.NO_IMAGE: Said(
        "kein Bild",
        "Die Kamera gab kein Bild, als sie gefragt wurde.",
        "Strom, Kabel und Trigger der Kamera prüfen.",
    ),
    Reason.IMAGE_UNREADABLE: Said(
        "Bild unlesbar",
        "Was die Kamera lieferte, ist kein ganzes Bild.",
        "Kabel und Netz der Kamera prüfen; das Bild noch einmal aufnehmen.",
    ),
    Reason.IMAGE_WRONG_SIZE: Said(
        "Bild in anderer Größe",
        "Das Bild hat nicht die Größe, die der Plan nennt.",
        "Auflösung der Kamera prüfen oder die richtige Größe in den Plan schreiben.",
    ),
    Reason.IMAGE_TOO_DARK: Said(
        "Bild zu dunkel",
        "Das Bild ist schwarz und ohne Kontrast.",
        "Lampe, Objektivdeckel und Belichtung prüfen.",
    ),
    Reason.IMAGE_TOO_BRIGHT: Said(
        "Bild zu hell",
        "Das Bild ist weiß und ohne Kontrast.",
        "Auf Blendung und Belichtung prüfen.",
    ),
    Reason.MODEL_UNAVAILABLE: Said(
        "Modell nicht geladen",
        "Der Edge-Rechner konnte das Modell, das der Plan will, nicht laden.",
        "Sein Log lesen: das Paket fehlt, ist verändert oder besteht seinen eigenen Test nicht.",
    ),
    Reason.MODEL_OUTPUT_INVALID: Said(
        "Modell gab keine brauchbaren Werte",
        "Was das Modell berechnet hat, sind keine Wahrscheinlichkeiten und zählt darum nicht.",
        "Bild aufheben, dem Ersteller des Modells melden, zur letzten Version zurückgehen.",
    ),
    Reason.MODEL_NOT_RELEASED: Said(
        "anderes Modell als freigegeben",
        "Beurteilt wurde mit einem Modell oder einer Policy, die diese Station nicht freigab.",
        "Das freigegebene Paket auf dem Edge-Rechner installieren oder das neue freigeben.",
    ),
    Reason.POLICY_DISAGREES: Said(
        "Edge-Rechner und Station uneins",
        "Die Policy sagt auf der Station zu denselben Werten etwas anderes als am Edge-Rechner.",
        "Softwareversionen von Edge-Rechner und Station vergleichen.",
    ),
    Reason.EDGE_NOT_CONNECTED: Said(
        "Edge-Rechner nicht verbunden",
        "Kein Edge-Rechner mit dieser Kamera war verbunden.",
        "Edge-Rechner starten oder sein Netz zur Station prüfen.",
    ),
    Reason.EDGE_LOST: Said(
        "Edge-Rechner verloren",
        "Der Edge-Rechner wurde gefragt, verstummte und konnte nicht noch einmal gefragt werden.",
        "Strom und Log des Edge-Rechners prüfen; das Teil erneut prüfen lassen.",
    ),
    Reason.EDGE_FAILED: Said(
        "Edge-Rechner gescheitert",
        "Der Edge-Rechner konnte nicht zu Ende kommen und sagte nicht mehr.",
        "Sein Log aus dieser Zeit lesen.",
    ),
    Reason.LATE: Said(
        "zu spät",
        "Vor der Frist des Plans kam keine Antwort.",
        "Falls es wieder vorkommt: dem Plan mehr Zeit geben oder dem Edge-Rechner weniger Punkte.",
    ),
    Reason.NOT_TRIGGERED: Said(
        "nicht ausgelöst",
        "Die SPS hat diese Ansicht nie verlangt.",
        "Roboterprogramm und Folge der Ansichten in der SPS prüfen.",
    ),
    Reason.RUN_ENDED: Said(
        "Lauf vorher beendet",
        "Die SPS beendete den Lauf, bevor diese Ansicht verlangt war.",
        "Prüfen, warum der Takt verkürzt wurde; das Teil erneut prüfen lassen.",
    ),
    Reason.STATION_RESTARTED: Said(
        "Station neu gestartet",
        "Der Rechner der Station startete neu, während der Lauf offen war.",
        "Das Teil erneut prüfen lassen.",
    ),
    Reason.RECORD_UNREADABLE: Said(
        "Datensatz unlesbar",
        "Was der Edge-Rechner zu diesem Punkt schrieb, ist nicht lesbar.",
        "Das Teil erneut prüfen lassen; die Platte des Edge-Rechners prüfen.",
    ),
    Reason.RECORD_LOST: Said(
        "Datensatz verloren",
        "Die Antwort ließ diesen Punkt aus, oder ihr Datensatz ist weg.",
        "Das Teil erneut prüfen lassen; die Platte des Edge-Rechners prüfen.",
    ),
    Reason.RECORD_CONFLICT: Said(
        "zwei verschiedene Antworten",
        "Dieselbe Frage wurde zweimal beantwortet, und nicht gleich.",
        "Das Teil erneut prüfen lassen; prüfen, dass kein Edge-Rechner doppelt läuft.",
    ),
    Reason.REPAIRED: Said(
        "repariert, seither nicht angesehen",
        "Jemand hat das Teil hier repariert; was vorher gesehen wurde, gilt nicht mehr.",
        "Den Punkt erneut prüfen lassen, oder das Teil selbst prüfen und die Methode nennen.",
    ),
    Reason.DISAGREEMENT: Said(
        "Personen uneins",
        "Eine Person sagte, es sei ein Fehler, eine andere, es sei keiner.",
        "Gemeinsam ansehen; wer sich irrte, sagt es, und der Punkt ist entschieden.",
    ),
    Reason.BYPASSED: Said(
        "Prüfung überbrückt",
        "Jemand hatte die Prüfung abgeschaltet, als das Teil hier stand.",
        "Das Teil selbst prüfen oder noch einmal durch die Station schicken.",
    ),
    Reason.SUPERSEDED: Said(
        "ein späterer Lauf existiert",
        "Das Teil wurde seither erneut geprüft; nur sein letzter Lauf kann es OK machen.",
        "Den letzten Lauf des Teils ansehen.",
    ),
    Reason.CHALLENGE_DUE: Said(
        "kein Fehlermuster in der Zeit",
        "In der Zeit, die der Plan setzt, ging kein Teil mit bekannten Fehlern durch die Linie.",
        "Ein Fehlermuster durch die Station schicken, dann dieses Teil erneut prüfen.",
    ),
    Reason.CHALLENGE_FAILED: Said(
        "Fehlermuster nicht erkannt",
        "Die Linie hatte einen bekannten Fehler eines Fehlermusters übersehen.",
        "Ursache finden, ein Fehlermuster bestehen, dann dieses Teil erneut prüfen.",
    ),
    Reason.CHALLENGE_PART: Said(
        "ein Fehlermuster",
        "Dieses Teil hat bekannte Fehler und beweist, dass die Linie sie findet.",
        "Zurück ins Regal: es wird nie freigegeben.",
    ),
}
_BY_NUMBER: dict[int, Said] = {
    205: Said(
        "Teil nicht an seinem Platz",
        "Die Marken des Teils sind nicht, wo sie sein dürfen, oder es ist eine andere Ansicht.",
        "Prüfen, ob das richtige Teil an seinem Platz steht und nichts die Marken verdeckt.",
    ),
    206: Said(
        "Bild unscharf",
        "Das Bild ist hier unscharf, oder das Teil hat sich bei der Aufnahme bewegt.",
        "Objektiv, Abstand und Belichtungszeit prüfen, und ob das Teil still steht.",
    ),
    207: Said(
        "Blendung",
        "Eine Spiegelung überdeckt den Punkt.",
        "Auf neue Lampen, Tageslicht und Öl auf dem Teil prüfen.",
    ),
    208: Said(
        "etwas anderes im Bild",
        "Das Bild zeigt hier nicht die geplante Stelle, oder etwas ist davor.",
        "Bild ansehen: prüfen, ob das Teil richtig steht und nichts im Weg ist.",
    ),
    209: Said(
        "Kamera eingefroren",
        "Die Kamera gab zweimal dasselbe Bild: es zeigt nicht, was jetzt da ist.",
        "Kamera aus- und einschalten; falls es wieder vorkommt, austauschen.",
    ),
    304: Said(
        "Berechnung abgebrochen",
        "Das Modell war nach der Zeit, die der Edge-Rechner ihm gibt, nicht fertig.",
        "Falls es wieder vorkommt: Bild aufheben, dem Ersteller melden, letzte Version nehmen.",
    ),
}
"""Reasons by their numbers, which are fixed for ever: also such as `Reason` does not have yet."""
GERMAN_REASONS |= {each: _BY_NUMBER[each.value] for each in Reason if each.value in _BY_NUMBER}


def reason(code: Reason) -> Said:
    """A reason in words."""
    return (GERMAN_REASONS if _language.get() == "de" else REASONS)[code]


class EventWords(NamedTuple):
    """A kind of event in words, and whether somebody has to do something about it."""

    label: str
    attention: bool


EVENTS: dict[str, EventWords] = {
    "restored": EventWords("station started again", attention=False),
    "edge_connected": EventWords("edge connected", attention=False),
    "edge_lost": EventWords("edge lost", attention=True),
    "edge_refused": EventWords("edge refused", attention=True),
    "model_fault": EventWords("model not usable", attention=True),
    "model_found": EventWords("model release found", attention=False),
    "model_released": EventWords("model released", attention=False),
    "model_refused": EventWords("model release refused", attention=True),
    "request_refused": EventWords("request refused", attention=True),
    "frame_refused": EventWords("frame refused", attention=True),
    "records_lost": EventWords("records lost", attention=True),
    "unreadable": EventWords("record unreadable", attention=True),
    "gap": EventWords("records gone", attention=True),
    "orphan": EventWords("record of no order", attention=True),
    "conflict": EventWords("contradicting record", attention=True),
    "late_defect": EventWords("defect after the verdict", attention=True),
    "chain_broken": EventWords("records were changed", attention=True),
    "decision_stale": EventWords("decision overtaken", attention=False),
    "login": EventWords("logged in", attention=False),
    "login_refused": EventWords("login refused", attention=True),
    "not_authorised": EventWords("not allowed", attention=True),
    "bypass": EventWords("bypass", attention=True),
    "challenge_failed": EventWords("challenge failed", attention=True),
    "record_changed": EventWords("records were changed", attention=True),
    "period": EventWords("new period", attention=False),
    "period_failed": EventWords("period not closed", attention=True),
    "impostor": EventWords("another's key", attention=True),
    "log_large": EventWords("log file large", attention=True),
}


GERMAN_EVENTS: dict[str, str] = {
    "restored": "Station neu gestartet",
    "edge_connected": "Edge verbunden",
    "edge_lost": "Edge verloren",
    "edge_refused": "Edge abgewiesen",
    "model_fault": "Modell nicht brauchbar",
    "model_found": "Freigabe eines Modells gefunden",
    "model_released": "Modell freigegeben",
    "model_refused": "Freigabe eines Modells abgewiesen",
    "request_refused": "Anfrage abgewiesen",
    "frame_refused": "Nachricht abgewiesen",
    "records_lost": "Datensätze verloren",
    "unreadable": "Datensatz unlesbar",
    "gap": "Datensätze fehlen",
    "orphan": "Datensatz ohne Auftrag",
    "conflict": "widersprüchlicher Datensatz",
    "late_defect": "Fehler nach dem Urteil",
    "chain_broken": "Datensätze verändert",
    "decision_stale": "Entscheidung überholt",
    "login": "angemeldet",
    "login_refused": "Anmeldung abgewiesen",
    "not_authorised": "nicht erlaubt",
    "bypass": "Überbrückung",
    "challenge_failed": "Fehlermuster verfehlt",
    "record_changed": "Datensätze verändert",
    "period": "neuer Zeitraum",
    "period_failed": "Zeitraum nicht beendet",
    "impostor": "fremder Schlüssel",
    "log_large": "Logdatei groß",
}


def event_words(kind: str) -> EventWords:
    """The words for a kind of event. One that this software does not know asks for attention."""
    known = EVENTS.get(kind)
    if known is None:
        return EventWords(kind, attention=True)
    return known._replace(label=GERMAN_EVENTS[kind]) if _language.get() == "de" else known


# --------------------------------------------------------------------------- numbers and times


def number(value: int) -> str:
    """1 500 000"""
    return f"{value:,}".replace(",", THIN_SPACE)


def _counted(count: int, key: str) -> str:
    return say(f"{key}.one" if count == 1 else f"{key}.many", count=number(count))


def points(count: int) -> str:
    return _counted(count, "points")


def runs(count: int) -> str:
    return _counted(count, "runs")


def parts(count: int) -> str:
    return _counted(count, "parts")


def share(some: int, of: int, decimals: int = 4) -> str:
    """A share in percent, cut off and never rounded up: 100 % is said only where all of it is."""
    if of <= 0:
        return "–"
    scale = 10**decimals
    floored = some * 100 * scale // of  # whole numbers, because a float may round up on its own
    whole, rest = divmod(floored, scale)
    sign = say("decimal.sign")
    return f"{whole}{sign}{rest:0{decimals}d}{THIN_SPACE}%" if decimals else f"{whole}{THIN_SPACE}%"


def duration(seconds: float) -> str:
    """How long, in the two units that matter."""
    whole = max(0, math.floor(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return say("days", days=whole // 86400, hours=whole % 86400 // 3600)


def clock_time(ns: int, now_ns: int) -> str:
    """The time of day in this machine's time zone, with the date where it is not today's."""
    then, now = _local(ns), _local(now_ns)
    return then.strftime("%H:%M:%S" if then.date() == now.date() else "%Y-%m-%d %H:%M:%S")


def _local(ns: int) -> datetime:
    return datetime.fromtimestamp(ns / 1e9).astimezone()
