"""Results as a file, to share between people and databases; `database/README.md` describes the format."""

from lrpolicy.database.exchange.exporting import Exported, export_runs
from lrpolicy.database.exchange.file import FORMAT, VERSION, Header
from lrpolicy.database.exchange.importing import Imported, import_runs

__all__ = ["FORMAT", "VERSION", "Exported", "Header", "Imported", "export_runs", "import_runs"]
