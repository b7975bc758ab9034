"""Options of what training does to the CNN."""

from dataclasses import dataclass
from typing import Annotated

from activity_cli.cli.option_groups import option
from activity_cli.errors import SettingsError
from activity_cli.settings import FROZEN, CnnMode, CnnSettings

_FINETUNE, _SCRATCH = CnnSettings(mode="finetune"), CnnSettings(mode="scratch")
_CNN_PANEL = "CNN"


@dataclass(frozen=True, kw_only=True)
class CnnOptions:
    """What training does to the CNN."""

    cnn: Annotated[
        CnnMode,
        option(
            panel=_CNN_PANEL,
            text="Leave it as it is, fine-tune it, or train a small one from nothing.",
        ),
    ] = FROZEN.mode
    finetune_stages: Annotated[
        int,
        option(
            panel=_CNN_PANEL, text="How many of its last stages (blocks) learn; 0 is all.", min=0
        ),
    ] = FROZEN.finetune_stages
    cnn_learning_rate: Annotated[
        float | None,
        option(
            panel=_CNN_PANEL,
            text="The highest of its last stage; earlier ones have less.",
            show_default=f"{_FINETUNE.highest_learning_rate:g}, "
            f"{_SCRATCH.highest_learning_rate:g} from scratch",
        ),
    ] = None
    cnn_epochs: Annotated[
        int | None,
        option(
            panel=_CNN_PANEL,
            text="The most passes of CNN and classifier together.",
            show_default=f"{_FINETUNE.most_epochs}, {_SCRATCH.most_epochs} from scratch",
            min=1,
        ),
    ] = None
    conv_channels: Annotated[
        str,
        option(
            panel=_CNN_PANEL,
            text="Channels of each block from scratch; every block halves the frame.",
        ),
    ] = ",".join(map(str, FROZEN.conv_channels))

    def settings(self) -> CnnSettings:
        """The settings that these options say.

        Raises:
            SettingsError: they cannot be read, or are out of range.
        """
        try:
            conv_channels = tuple(int(part) for part in self.conv_channels.split(","))
        except ValueError:
            raise SettingsError(
                f"--conv-channels {self.conv_channels!r} are no numbers.", hint="Use 16,32,64."
            ) from None
        return CnnSettings(
            mode=self.cnn,
            finetune_stages=self.finetune_stages,
            learning_rate=self.cnn_learning_rate,
            epochs=self.cnn_epochs,
            conv_channels=conv_channels,
        )
