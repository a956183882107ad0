import { RUN_FILES } from '../layout.ts';
import { sh } from '../shell.ts';
import type { Step } from './step.ts';

/** Applies the migrations. The undo reverses them from the new release's code, where that loses nothing. */
export const migrate: Step = {
  name: 'migrate',
  title: 'Apply the migrations',
  orphan: 'never',
  run: () => sh`
    read -r migrations <${RUN_FILES.migrations}
    case $migrations in
      none) skip 'the settings name no DATABASES' ;;
      empty) skip 'no migrations to apply' ;;
    esac
    # what takes them back must be on the disk before they are applied
    sync -f releases/"$RELEASE" 2>/dev/null || sync
    django migrations.py "$RELEASE" DEPLOYER_OPERATION=apply`,
  undo: () => sh`
    [ -e ${RUN_FILES.appliedBefore} ] || exit 0
    switched=0
    [ ! -e ${RUN_FILES.switched} ] || switched=1
    django migrations.py "$RELEASE" DEPLOYER_OPERATION=reverse DEPLOYER_SWITCHED="$switched"`,
};

/** Lists what the database has and the release that is gone back to does not know. The database is not touched. */
export const unknownMigrations = sh`
  django migrations.py "$RELEASE" DEPLOYER_OPERATION=unknown || answer warning 'could not compare the migrations with this release'`;
