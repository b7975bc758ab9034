"""Options of augmentation: how many views of each training clip, and what differs between them."""

from dataclasses import dataclass, replace
from typing import Annotated

from activity_cli.cli.option_groups import option
from activity_cli.errors import SettingsError
from activity_cli.settings import AUGMENTATIONS, AugmentSettings

_PANEL = "Augmentation"
_DEFAULT = AugmentSettings()


@dataclass(frozen=True, kw_only=True)
class AugmentOptions:
    """Augmented views of training clips."""

    views: Annotated[
        int,
        option(
            panel=_PANEL,
            text="Augmented views of each clip to train on, beside the clip itself. Each costs the"
            " CNN as much as the clip, once: features are cached.",
            min=0,
        ),
    ] = _DEFAULT.num_views
    augment: Annotated[
        list[str] | None,
        option(
            panel=_PANEL,
            text=f"What differs between views; several may be given: {', '.join(AUGMENTATIONS)}.",
            metavar="KIND",
            show_default="all but reverse; flip unless a label names a side",
        ),
    ] = None
    augment_strength: Annotated[
        float, option(panel=_PANEL, text="How much differs; 2 is twice as much.", min=0)
    ] = 1.0

    def settings(self) -> AugmentSettings:
        """The augmented views that these options ask for.

        Raises:
            SettingsError: they do not go together.
        """
        wanted = _DEFAULT.scaled(self.augment_strength)
        if self.augment:
            wanted = wanted.only(self.augment)
        if not self.views and wanted != _DEFAULT:
            raise SettingsError(
                "How augmented views differ is said, but there are none.", hint="Add --views 2."
            )
        return replace(wanted, num_views=self.views)
